// Registers well; what its components do to the process is seen by all that comes after.
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <locale>
#include <string>
#include <thread>
#include <vector>

#include "echo.h"

namespace bitfall {
namespace {

// Another in each process, the same in all calls of one.
const double since_loading = 1 + ::getpid() % 32768 / 1048576.0;

class SinceLoading final : public Echo {
 public:
  void measure(const Observation&, View<double> values) const override {
    values[0] = since_loading;
  }
};

class Printing final : public Echo {
 public:
  Printing() { std::puts("a line by puts, in create"); }
  ~Printing() override { std::cout << "a line by cout, in the destructor\n"; }
  void measure(const Observation& observation, View<double> values) const override {
    std::printf("a line by printf, in measure\n");
    Echo::measure(observation, values);
  }
};

class DecimalComma final : public std::numpunct<char> {
  char do_decimal_point() const override { return ','; }
};

void meddle() {
  if (::chdir("/") != 0) std::abort();
  ::umask(0777);
  for (const int signal : {SIGSEGV, SIGINT, SIGTERM}) std::signal(signal, SIG_IGN);
  std::locale::global(std::locale(std::locale(), new DecimalComma));
}

class MeddlesInCreate final : public Echo {
 public:
  MeddlesInCreate() { meddle(); }
};

class MeddlesInMeasure final : public Echo {
 public:
  void measure(const Observation& observation, View<double> values) const override {
    if (::chdir("/") != 0) std::abort();
    std::locale::global(std::locale(std::locale(), new DecimalComma));
    Echo::measure(observation, values);
  }
};

std::vector<char*> held;

struct EndsNever {
  bool wanted = false;
  ~EndsNever() {
    while (wanted) std::this_thread::sleep_for(std::chrono::seconds(1));
  }
} ends_never;

class Lingering final : public Echo {
 public:
  Lingering() { ends_never.wanted = true; }
};

/// Until there is no more.
void hoard() {
  for (;;) held.push_back(new char[std::size_t{1} << 28]);
}

class HoardsInCreate final : public Echo {
 public:
  HoardsInCreate() { hoard(); }
};

class HoardsInPopulation final : public ErrorModel {
 public:
  double population(const SiteView&) const override {
    hoard();
    return 1;
  }
  void draw(const SiteView&, RandomStream&, EditSink&) const override {}
};

template <typename Made>
Component<Metric> metric(const char* id) {
  return {id, "for tests", {}, [](const Options&) -> Metric* { return new Made; }};
}

void add_all(Registrar& registrar) {
  registrar.add(metric<SinceLoading>("since_loading"));
  registrar.add(metric<Printing>("printing"));
  registrar.add(metric<MeddlesInCreate>("meddles_in_create"));
  registrar.add(metric<MeddlesInMeasure>("meddles_in_measure"));
  registrar.add(metric<Lingering>("lingering"));
  registrar.add(metric<HoardsInCreate>("hoards_in_create"));
  registrar.add(Component<ErrorModel>{
      "hoards_in_population", "for tests", {}, [](const Options&) -> ErrorModel* {
        return new HoardsInPopulation;
      }});
}

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("meddling", "1.0.0", "changes the process that it is in", bitfall::add_all);
