// Serves the metrics of two indexes to Prometheus, over HTTP on this machine only.
//
//   metrics_endpoint [<port>] [<pages>]
//
// Port 0, the default, takes any free one; the address is printed. After so many pages it ends;
// without that number it goes on until it is killed.

#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <cowindex/cowindex.hpp>
#include <cowindex/prometheus.hpp>

#include <httplib.h>

namespace {

using Routes = cowindex::CowIndex<std::string>;
using Counts = cowindex::CowIndex<std::uint64_t>;

// Something to count.
class Traffic {
  public:
    Traffic(const Routes& routes, const Counts& counts)
        : thread_([this, routes = Routes(routes), counts = Counts(counts)]() mutable {
              for (std::uint64_t i = 0; !stop_; ++i) {
                  routes.edit(i % 100, [&](std::string& route) { route = std::to_string(i); });
                  counts.edit(i % 7, [](std::uint64_t& count) { ++count; });
                  std::this_thread::sleep_for(std::chrono::milliseconds(1));
              }
          }) {}
    ~Traffic() {
        stop_ = true;
        thread_.join();
    }
    Traffic(const Traffic&) = delete;
    Traffic& operator=(const Traffic&) = delete;

  private:
    std::atomic<bool> stop_{false};
    std::thread thread_;
};

// [page]
std::string page_of(const Routes& routes, const Counts& counts) {
    const std::vector<cowindex::PrometheusSource> sources{
        {routes.metrics(), {{"index", "routes"}}}, {counts.metrics(), {{"index", "counts"}}}};
    std::ostringstream page;
    cowindex::write_prometheus(page, sources);
    return page.str();
}
// [/page]

int serve(int port, std::int64_t pages) {
    const Routes routes(100, std::string("nowhere"));
    const Counts counts(7, 0);
    const Traffic traffic(routes, counts);

    httplib::Server server;
    std::atomic<std::int64_t> served{0};
    server.Get("/metrics", [&](const httplib::Request&, httplib::Response& response) {
        response.set_content(page_of(routes, counts), "text/plain; version=0.0.4; charset=utf-8");
    });
    // When the last page is on its way.
    server.set_logger([&](const httplib::Request&, const httplib::Response&) {
        if (pages > 0 && ++served >= pages) server.stop();
    });
    const char* host = "127.0.0.1";
    if (port == 0)
        port = server.bind_to_any_port(host);
    else if (!server.bind_to_port(host, port))
        port = -1;
    if (port < 0) {
        std::cerr << "metrics_endpoint: the port cannot be had\n";
        return 1;
    }
    std::cout << "http://" << host << ':' << port << "/metrics" << std::endl;
    return server.listen_after_bind() ? 0 : 1;
}

std::optional<std::int64_t> number(const char* text, std::int64_t largest) {
    std::int64_t value = 0;
    const char* end = text + std::strlen(text);
    const auto [last, error] = std::from_chars(text, end, value);
    if (error != std::errc() || last != end || value < 0 || value > largest) return std::nullopt;
    return value;
}

} // namespace

int main(int argc, char** argv) {
    const auto port = number(argc > 1 ? argv[1] : "0", 65535);
    const auto pages = number(argc > 2 ? argv[2] : "0", 1'000'000'000);
    if (argc > 3 || !port || !pages) {
        std::cerr << "usage: metrics_endpoint [<port>] [<pages>]\n";
        return 2;
    }
    try {
        return serve(static_cast<int>(*port), *pages);
    } catch (const std::exception& error) {
        std::cerr << "metrics_endpoint: " << error.what() << '\n';
        return 1;
    }
}
