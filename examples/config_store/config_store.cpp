#include "config_store.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace config_store {

namespace {

std::string_view trimmed(std::string_view text) {
    const auto first = text.find_first_not_of(" \t\r");
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(" \t\r") - first + 1);
}

} // namespace

std::vector<Section> parse(std::string_view text) {
    std::vector<Section> sections;
    for (std::size_t number = 1; !text.empty(); ++number) {
        const auto end = std::min(text.find('\n'), text.size());
        const std::string_view line = trimmed(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.empty() || line.front() == '#') continue;

        const auto equals = line.find('=');
        if (line.front() == '[' && line.back() == ']') {
            sections.push_back({std::string(line.substr(1, line.size() - 2)), {}});
        } else if (!sections.empty() && equals != std::string_view::npos) {
            sections.back().values.insert_or_assign(std::string(trimmed(line.substr(0, equals))),
                                                    std::string(trimmed(line.substr(equals + 1))));
        } else {
            throw std::runtime_error("line " + std::to_string(number) +
                                     " is neither [section] nor key = value");
        }
    }
    return sections;
}

cowindex::Version reload(Settings& settings, const std::filesystem::path& file) {
    std::ifstream in(file);
    std::ostringstream text;
    text << in.rdbuf();
    if (!in) throw std::runtime_error("'" + file.string() + "' cannot be read");
    std::vector<Section> wanted = parse(text.str()); // throws before anything is changed

    // [reload]
    Settings::Writer writer = settings.writer("reload");
    const auto now = settings.snapshot(); // with a name: a loop over a temporary's items dangles
    for (const auto& [id, section] : now.items()) {
        const auto found = std::find_if(wanted.begin(), wanted.end(), [&](const Section& each) {
            return each.name == section.name;
        });
        if (found == wanted.end()) {
            writer.erase(id);
            continue;
        }
        if (*found != section) writer.replace(id, std::move(*found));
        wanted.erase(found);
    }
    for (Section& section : wanted) writer.append(std::move(section));
    return writer.commit(); // one version for the whole file, none if nothing differs
    // [/reload]
}

} // namespace config_store
