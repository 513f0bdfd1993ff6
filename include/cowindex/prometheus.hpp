// Metrics for Prometheus. Not part of the umbrella: it needs <ostream>.
#pragma once

#include <chrono>
#include <cstdint>
#include <ostream>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <cowindex/cow_metrics.hpp>
#include <cowindex/detail/metric_fields.hpp>
#include <cowindex/errors.hpp>

namespace cowindex {

/// A label on every sample, such as {"index", "routes"}.
struct PrometheusLabel {
    std::string name;  ///< letters, digits and underscores
    std::string value; ///< any text; it is escaped
};

/// The metrics of one of several indexes, and the labels that tell it from the others.
struct PrometheusSource {
    CowMetrics::Values values;           ///< from `CowIndex::metrics()`
    std::vector<PrometheusLabel> labels; ///< none needed for a single index
};

namespace detail {

class PrometheusText {
  public:
    explicit PrometheusText(std::span<const PrometheusSource> sources) {
        for (const PrometheusSource& source : sources) {
            std::string labels;
            for (const PrometheusLabel& label : source.labels) {
                for (const PrometheusLabel* other = source.labels.data(); other != &label; ++other)
                    if (other->name == label.name) throw_twice(label.name);
                add_label(labels, label);
            }
            sources_.push_back({&source.values, std::move(labels)});
        }
        for (const MetricField& field : metric_fields) add(field);
        for (const DurationField& field : duration_fields) add(field);
    }

    [[nodiscard]] const std::string& text() const noexcept { return text_; }

  private:
    struct Source {
        const CowMetrics::Values* values;
        std::string labels;
    };

    static void add_label(std::string& labels, const PrometheusLabel& label) {
        check_label(label.name);
        if (!labels.empty()) labels += ',';
        labels += label.name;
        labels += "=\"";
        for (const char c : label.value) {
            if (c == '\\' || c == '"') labels += '\\';
            if (c == '\n')
                labels += "\\n";
            else
                labels += c;
        }
        labels += '"';
    }

    [[noreturn]] static void throw_twice(const std::string& name) {
        raise(std::invalid_argument("cowindex: the Prometheus label '" + name +
                                    "' is given twice; one source has each name once"));
    }

    // What the format allows and what is not taken: two underscores are Prometheus' own.
    static void check_label(std::string_view name) {
        const auto is_letter = [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        };
        bool usable = !name.empty() && is_letter(name.front()) && name.substr(0, 2) != "__" &&
                      name != "quantile";
        for (const char c : name) usable = usable && (is_letter(c) || (c >= '0' && c <= '9'));
        if (!usable)
            raise(std::invalid_argument("cowindex: '" + std::string(name) +
                                        "' cannot name a Prometheus label; use letters, digits and "
                                        "underscores, no digit and "
                                        "no double underscore first, and not 'quantile'"));
    }

    void add(const MetricField& field) {
        head(field.series, field.kind == MetricKind::counter ? "counter" : "gauge", field.help);
        for (const Source& source : sources_)
            sample(field.series, source.labels, {}, std::to_string(source.values->*field.value));
    }

    void add(const DurationField& field) {
        const std::string name = field.series;
        head(name, "summary", field.help);
        for (const Source& source : sources_) {
            const bool any = source.values->*field.samples != 0;
            for (const auto& quantile : field.quantiles)
                sample(name, source.labels, quantile.quantile,
                       any ? seconds(source.values->*quantile.value) : "NaN");
            sample(name + "_sum", source.labels, {}, seconds(source.values->*field.total));
            sample(name + "_count", source.labels, {},
                   std::to_string(source.values->*field.samples));
        }
    }

    void head(const std::string& name, const char* type, const char* help) {
        text_ += "# HELP " + name + " " + help + "\n# TYPE " + name + " " + type + "\n";
    }

    void sample(const std::string& name, const std::string& labels, std::string_view quantile,
                const std::string& value) {
        text_ += name;
        if (!labels.empty() || !quantile.empty()) {
            text_ += '{';
            text_ += labels;
            if (!quantile.empty()) {
                if (!labels.empty()) text_ += ',';
                text_ += "quantile=\"";
                text_ += quantile;
                text_ += '"';
            }
            text_ += '}';
        }
        text_ += ' ';
        text_ += value;
        text_ += '\n';
    }

    // Exact, whatever the locale.
    static std::string seconds(std::chrono::nanoseconds time) {
        constexpr std::uint64_t billion = 1'000'000'000;
        const auto n = static_cast<std::uint64_t>(time.count() < 0 ? 0 : time.count());
        const std::string fraction = std::to_string(billion + n % billion);
        return std::to_string(n / billion) + "." + fraction.substr(1);
    }

    std::vector<Source> sources_;
    std::string text_;
};

} // namespace detail

/// Effect: writes the metrics of several indexes in Prometheus' text format 0.0.4, to be served as
/// `text/plain; version=0.0.4`. All names begin with `cowindex_` and carry base units; durations
/// are summaries whose quantiles 0 and 1 are the minimum and maximum (NaN where nothing was
/// sampled). *Preconditions* the sources' labels differ, and label values are UTF-8. *Exceptions*
/// `std::invalid_argument` naming a label name that the format does not allow or that is given
/// twice; nothing is then written.
inline void write_prometheus(std::ostream& out, std::span<const PrometheusSource> sources) {
    const detail::PrometheusText text(sources);
    out.write(text.text().data(), static_cast<std::streamsize>(text.text().size()));
}

/// As above, for one index. Not to be called twice for one page: the format wants all samples of a
/// metric together.
inline void write_prometheus(std::ostream& out, const CowMetrics::Values& values,
                             std::vector<PrometheusLabel> labels = {}) {
    const PrometheusSource source{values, std::move(labels)};
    write_prometheus(out, std::span<const PrometheusSource>(&source, 1));
}

} // namespace cowindex
