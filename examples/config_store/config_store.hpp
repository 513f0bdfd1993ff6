#pragma once

#include <cowindex/cowindex.hpp>

#include <filesystem>
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace config_store {

/// The settings of one [section] of a file: a shard.
struct Section {
    std::string name;
    std::map<std::string, std::string, std::less<>> values;

    bool operator==(const Section&) const = default;
};

using Settings = cowindex::CowIndex<Section>;

/// Sections in the order of the text. Throws `std::runtime_error` that names the line at fault.
std::vector<Section> parse(std::string_view text);

/// Makes `settings` hold what the file says, in one version: the sections that differ are replaced,
/// the others are not touched, a file that cannot be parsed changes nothing. To be called by one
/// thread, say by one that handles SIGHUP or watches the file. Returns the version then valid.
cowindex::Version reload(Settings& settings, const std::filesystem::path& file);

/// One setting as of `version`, a `View` or a `Snapshot`; throws `std::out_of_range` without it.
template <class Version>
const std::string& get(const Version& version, std::string_view section, std::string_view key) {
    for (const Section& each : version) {
        if (each.name != section) continue;
        if (const auto found = each.values.find(key); found != each.values.end())
            return found->second;
    }
    throw std::out_of_range("there is no setting " + std::string(section) + "." + std::string(key));
}

} // namespace config_store
