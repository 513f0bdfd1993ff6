#pragma once

#include <cowindex/cowindex.hpp>

#include <vector>

using Index = cowindex::CowIndex<std::vector<int>>;

void add(Index& index, cowindex::ShardId id, int value);
int sum(const Index& index);
