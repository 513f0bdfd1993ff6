#pragma once

#include <map>
#include <string>
#include <vector>

/// The task that all files of this directory solve in two ways: the prices of some items, of which
/// several change together, and a sum over several that must not mix old prices with new ones.
namespace migration {

using Items = std::vector<std::string>;
using Prices = std::map<std::string, int>;

} // namespace migration
