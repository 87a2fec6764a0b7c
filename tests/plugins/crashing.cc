// Works, but for some trials; and tries what a confined process may not do.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "bitfall/plugin.h"

namespace bitfall {
namespace {

void overflow_stack(volatile int* depth) {
  volatile char frame[4096];
  frame[0] = static_cast<char>(*depth);
  *depth = *depth + 1;
  if (*depth > 0) overflow_stack(depth);
  frame[1] = frame[0];
}

void act(std::string_view deed) {
  if (deed == "pointer") *static_cast<volatile int*>(nullptr) = 1;
  if (deed == "abort") std::abort();
  if (deed == "exit") std::exit(0);
  if (deed == "exit_at_once") ::_exit(0);
  if (deed == "system_call") ::syscall(SYS_exit_group, 0);
  if (deed == "thread") std::thread([] { *static_cast<volatile int*>(nullptr) = 1; }).join();
  if (deed == "kill") ::raise(SIGKILL);
  if (deed == "throw") throw std::runtime_error("it did not work out");
  if (deed == "stack") {
    volatile int depth = 0;
    overflow_stack(&depth);
  }
  while (deed == "endless") std::this_thread::sleep_for(std::chrono::milliseconds(10));
  while (deed == "memory") {
    static char* volatile taken;  // volatile: a compiler may leave out what nobody sees
    taken = new char[std::size_t{1} << 28];
    *taken = 1;
  }
}

constexpr OptionSpec kDeed[] = {
    {"deed", OptionType::kText, "pointer", 0, 0,
     "pointer|abort|exit|exit_at_once|system_call|thread|kill|throw|stack|endless|memory",
     "what it does"}};

/// Ends where the answer is another.
class Fragile final : public Metric {
 public:
  explicit Fragile(const Options& options) : deed_(std::string_view(options.text("deed"))) {}
  View<const MetricColumn> columns() const override {
    static constexpr MetricColumn kColumns[] = {{"moved", ColumnKind::kQuantity, "1", "logit 0"}};
    return kColumns;
  }
  void measure(const Observation& o, View<double> values) const override {
    if (o.faulty_top1 != o.golden_top1) act(deed_);
    values[0] = double{o.faulty_logits[0]} - o.golden_logits[0];
  }

 private:
  std::string deed_;
};

/// float32, which ends where a value is very large.
class Fussy final : public NumberFormat {
 public:
  explicit Fussy(const Options& options) : deed_(std::string_view(options.text("deed"))) {}
  View<const Register> registers() const override {
    static constexpr BitClass kM = BitClass::kMantissa;
    static constexpr BitClass kClasses[32] = {
        kM, kM, kM, kM, kM, kM, kM, kM, kM, kM, kM, kM, kM, kM, kM, kM,
        kM, kM, kM, kM, kM, kM, kM, kM, kM, kM, kM, kM, kM, kM, kM, BitClass::kSign};
    static constexpr Register kRegisters[] = {{"payload", 32, kClasses}};
    return kRegisters;
  }
  void encode(View<const float> values, const Slice&, View<std::uint32_t>,
              View<std::uint32_t> codes) const override {
    std::memcpy(codes.data(), values.data(), values.size_bytes());
  }
  void decode(View<const std::uint32_t> codes, const Slice&, View<const std::uint32_t>,
              View<float> values) const override {
    std::memcpy(values.data(), codes.data(), codes.size_bytes());
  }
  void emulate(View<float> values, const Slice&, View<std::uint32_t>) const override {
    for (const float value : values) {
      if (std::fabs(value) > 1e30F) act(deed_);
    }
  }
  float largest(View<const std::uint32_t>) const override { return 3.4028235e38F; }

 private:
  std::string deed_;
};

bool connects() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  if (socket >= 0) ::close(socket);
  return socket >= 0;
}
const bool kConnectedAtLoad = connects();  // the first that a plugin can do

/// What succeeds of that which a confined process may not do.
class Escape final : public Metric {
 public:
  View<const MetricColumn> columns() const override {
    static constexpr MetricColumn kColumns[] = {
        {"wrote", ColumnKind::kEvent, "1", "a file"},
        {"connected", ColumnKind::kEvent, "1", "a socket"},
        {"connected_at_load", ColumnKind::kEvent, "1", "a socket"},
        {"read_home", ColumnKind::kEvent, "1", "a file of somebody else"}};
    return kColumns;
  }
  void measure(const Observation&, View<double> values) const override {
    const int file = ::open("escaped.txt", O_WRONLY | O_CREAT, 0600);
    const int home = ::open("secret.txt", O_RDONLY);
    const bool done[] = {file >= 0, connects(), kConnectedAtLoad, home >= 0};
    std::copy(std::begin(done), std::end(done), values.begin());
    for (const int opened : {file, home}) {
      if (opened >= 0) ::close(opened);
    }
  }
};

constexpr Component<Metric> kFragile{"fragile", "ends where the answer is another", kDeed,
                                     [](const Options& o) -> Metric* { return new Fragile(o); }};
constexpr Component<NumberFormat> kFussy{
    "fussy", "ends where a value is very large", kDeed,
    [](const Options& o) -> NumberFormat* { return new Fussy(o); }};
constexpr Component<Metric> kEscape{
    "escape", "tries what a confined process may not do", {}, [](const Options&) -> Metric* {
      return new Escape;
    }};

}  // namespace
}  // namespace bitfall

BITFALL_PLUGIN("crashing", "1.0", "ends in some trials", bitfall::kFragile, bitfall::kFussy,
               bitfall::kEscape);
