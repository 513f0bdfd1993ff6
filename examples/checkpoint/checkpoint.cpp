#include "checkpoint.hpp"

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <ios>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <system_error>

namespace checkpoint {

namespace {

// A file is a list of numbers and notes, in this machine's own order of bytes:
//   version, how many are erased, their ids, how many are stored, for each its id, length and text.

std::filesystem::path file_name(const std::filesystem::path& directory, std::size_t number) {
    return directory / ("checkpoint-" + std::to_string(number));
}

void put(std::ostream& out, std::uint64_t number) {
    out.write(reinterpret_cast<const char*>(&number), sizeof number);
}

std::uint64_t get(std::istream& in) {
    std::uint64_t number = 0;
    if (!in.read(reinterpret_cast<char*>(&number), sizeof number))
        throw std::runtime_error("a checkpoint ends too early");
    return number;
}

void put_note(std::ostream& out, cowindex::ShardId id, const std::string& note) {
    put(out, id);
    put(out, note.size());
    out.write(note.data(), static_cast<std::streamsize>(note.size()));
}

} // namespace

Checkpoints::Written Checkpoints::save(const Notes::Snapshot& now) {
    Written written;
    std::ostringstream erased;
    std::ostringstream stored;
    // [diff]
    // Looks at what has changed since the last checkpoint, and at nothing else. Before the first
    // one `last_` is empty, and every note counts as added.
    cowindex::for_each_difference(
        last_, now, [&](cowindex::ShardId id, const std::string*, const std::string* note) {
            if (note == nullptr) {
                put(erased, id);
                ++written.erased;
            } else {
                put_note(stored, id, *note);
                ++written.stored;
            }
        });
    // [/diff]

    const std::filesystem::path unfinished = directory_ / "unfinished";
    {
        std::ofstream out(unfinished, std::ios::binary | std::ios::trunc);
        out.exceptions(std::ios::failbit | std::ios::badbit);
        put(out, now.version());
        put(out, written.erased);
        out << erased.str();
        put(out, written.stored);
        out << stored.str();
        out.close();
    }
    std::filesystem::rename(unfinished, file_name(directory_, files_));
    ++files_;
    last_ = now;
    return written;
}

Notes restore(const std::filesystem::path& directory) {
    std::map<cowindex::ShardId, std::string> notes;
    cowindex::Version version = 0;
    std::size_t number = 0;
    for (; std::filesystem::exists(file_name(directory, number)); ++number) {
        std::ifstream in(file_name(directory, number), std::ios::binary);
        version = get(in);
        for (std::uint64_t left = get(in); left > 0; --left) notes.erase(get(in));
        for (std::uint64_t left = get(in); left > 0; --left) {
            const cowindex::ShardId id = get(in);
            std::string note(get(in), '\0');
            if (!in.read(note.data(), static_cast<std::streamsize>(note.size())))
                throw std::runtime_error("a checkpoint ends too early");
            notes.insert_or_assign(id, std::move(note));
        }
    }
    if (number == 0)
        throw std::runtime_error("there is no checkpoint in '" + directory.string() + "'");

    // Its first version is empty, so the one commit that fills it gives it the right number.
    Notes::Options options;
    options.first_version = std::max<cowindex::Version>(version, 1) - 1;
    Notes index(options);
    Notes::Writer writer = index.writer();
    for (auto& [id, note] : notes) writer.insert(id, std::move(note));
    writer.commit();
    return index;
}

} // namespace checkpoint
