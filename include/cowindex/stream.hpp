// Metrics and memory as text for people. Not part of the umbrella: it needs <ostream>.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ostream>
#include <string>
#include <string_view>

#include <cowindex/cow_metrics.hpp>
#include <cowindex/detail/metric_fields.hpp>
#include <cowindex/memory.hpp>

namespace cowindex {

namespace detail {

// Lines of a name, a number that ends in one column, and its unit. The stream's locale, width and
// flags have no say, so that the lines stay aligned and can be searched.
class AlignedLines {
  public:
    void count(std::string_view name, std::uint64_t n) { line(name, std::to_string(n), ""); }

    void bytes(std::string_view name, std::uint64_t n) {
        static constexpr std::array<const char*, 7> units{"B",   "KiB", "MiB", "GiB",
                                                          "TiB", "PiB", "EiB"};
        std::size_t unit = 0;
        std::uint64_t scale = 1;
        while (unit + 1 < units.size() && n / scale >= 1000) {
            scale *= 1024;
            ++unit;
        }
        scaled(name, n, scale, units[unit]);
    }

    void duration(std::string_view name, std::chrono::nanoseconds time) {
        static constexpr std::array<const char*, 4> units{"ns", "us", "ms", "s"};
        const auto n = static_cast<std::uint64_t>(time.count() < 0 ? 0 : time.count());
        std::size_t unit = 0;
        std::uint64_t scale = 1;
        while (unit + 1 < units.size() && n / scale >= 1000) {
            scale *= 1000;
            ++unit;
        }
        scaled(name, n, scale, units[unit]);
    }

    [[nodiscard]] const std::string& text() const noexcept { return text_; }

  private:
    static constexpr std::size_t name_width = 22;
    static constexpr std::size_t number_width = 12;

    // Three digits are enough to read, and more than the histograms know. Rounds down.
    void scaled(std::string_view name, std::uint64_t n, std::uint64_t scale, const char* unit) {
        std::string number = std::to_string(n / scale);
        if (scale > 1 && number.size() < 3) {
            const std::size_t decimals = 3 - number.size();
            number += '.';
            std::uint64_t rest = n % scale;
            for (std::size_t i = 0; i < decimals; ++i) {
                // The largest scale is 2^60, so ten times the rest fits.
                rest *= 10;
                number += static_cast<char>('0' + rest / scale);
                rest %= scale;
            }
        }
        line(name, number, unit);
    }

    void line(std::string_view name, std::string_view number, std::string_view unit) {
        text_ += name;
        pad(name.size(), name_width);
        pad(number.size(), number_width);
        text_ += number;
        if (!unit.empty()) {
            text_ += ' ';
            text_ += unit;
        }
        text_ += '\n';
    }
    void pad(std::size_t used, std::size_t width) {
        if (used < width) text_.append(width - used, ' ');
    }

    std::string text_;
};

} // namespace detail

/// Effect: writes one line for each field, such as `commit_time_p99             1.23 us`. *Returns*
/// `out`. Numbers are rounded down to three digits, counts are not rounded.
inline std::ostream& operator<<(std::ostream& out, const CowMetrics::Values& values) {
    detail::AlignedLines lines;
    for (const detail::MetricField& field : detail::metric_fields) {
        if (field.unit == detail::MetricUnit::bytes)
            lines.bytes(field.name, values.*field.value);
        else
            lines.count(field.name, values.*field.value);
    }
    for (const detail::DurationField& field : detail::duration_fields) {
        const std::string name = field.name;
        lines.count(name + "_samples", values.*field.samples);
        lines.duration(name + "_total", values.*field.total);
        lines.duration(field.average_name, values.*field.average);
        for (const auto& quantile : field.quantiles)
            lines.duration(name + "_" + quantile.name, values.*quantile.value);
    }
    return out.write(lines.text().data(), static_cast<std::streamsize>(lines.text().size()));
}

/// Effect: writes one line for each field, and their sum. *Returns* `out`.
inline std::ostream& operator<<(std::ostream& out, const MemoryStats& stats) {
    detail::AlignedLines lines;
    for (const detail::MemoryField& field : detail::memory_fields)
        lines.bytes(field.name, stats.*field.value);
    lines.bytes("total_bytes", stats.total_bytes());
    return out.write(lines.text().data(), static_cast<std::streamsize>(lines.text().size()));
}

} // namespace cowindex
