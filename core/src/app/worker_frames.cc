#include "worker_frames.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <type_traits>

#include "atomic_file.h"

namespace bitfall {
namespace {

class Packer {
 public:
  template <typename T>
  void add(const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    body.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  void add(const std::string& text) {
    add(text.size());
    body += text;
  }
  std::string body;
};

class Unpacker {
 public:
  explicit Unpacker(const std::string& body) : body_(body) {}

  template <typename T>
  T next() {
    T value{};
    std::memcpy(&value, take(sizeof value), sizeof value);
    return value;
  }
  std::string text() {
    const auto size = next<std::size_t>();
    return {take(size), size};
  }
  /// Of an enum that counts from 0, of bytes.
  template <typename Enum>
  Enum counted(std::size_t names) {
    const auto number = next<std::underlying_type_t<Enum>>();
    if (number >= names) throw std::runtime_error("a frame of a worker is damaged");
    return static_cast<Enum>(number);
  }
  void end() const {
    if (at_ != body_.size()) throw std::runtime_error("a frame of a worker is too long");
  }

 private:
  const char* take(std::size_t size) {
    if (body_.size() - at_ < size) throw std::runtime_error("a frame of a worker is too short");
    at_ += size;
    return body_.data() + at_ - size;
  }
  const std::string& body_;
  std::size_t at_ = 0;
};

bool read_all(int file, char* bytes, std::size_t size) {
  while (size > 0) {
    const ssize_t got = ::read(file, bytes, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

}  // namespace

std::string to_body(std::int64_t number) {
  Packer packer;
  packer.add(number);
  return packer.body;
}

std::string to_body(const GoldenResult& result) {
  Packer packer;
  packer.add(result);
  return packer.body;
}

std::string to_body(const TrialResult& result) {
  Packer packer;
  packer.add(result.trial);
  packer.add(result.entry);
  packer.add(result.site);
  packer.add(result.image);
  packer.add(result.outcome);
  packer.add(result.activated);
  packer.add(result.golden_loss);
  packer.add(result.faulty_loss);
  packer.add(result.golden_top1);
  packer.add(result.faulty_top1);
  packer.add(result.metrics.size());
  for (const double metric : result.metrics) packer.add(metric);
  packer.add(result.edits.size());
  for (const EditRecord& record : result.edits) {
    packer.add(record.edit.element);
    packer.add(record.edit.register_index);
    packer.add(record.edit.operation);
    packer.add(record.edit.mask);
    packer.add(record.edit.value);
    packer.add(record.code_before);
    packer.add(record.code_after);
    packer.add(record.value_before);
    packer.add(record.value_after);
    packer.add(record.bit_class);
  }
  packer.add(result.message);
  return packer.body;
}

std::int64_t number_of(const std::string& body) {
  Unpacker from(body);
  const auto number = from.next<std::int64_t>();
  from.end();
  return number;
}

GoldenResult golden_of(const std::string& body) {
  Unpacker from(body);
  const auto result = from.next<GoldenResult>();
  from.end();
  return result;
}

TrialResult trial_of(const std::string& body) {
  Unpacker from(body);
  TrialResult result;
  result.trial = from.next<std::int64_t>();
  result.entry = from.next<std::int32_t>();
  result.site = from.next<std::int32_t>();
  result.image = from.next<std::int32_t>();
  result.outcome = from.counted<Outcome>(kOutcomeNames.size());
  result.activated = from.next<unsigned char>() != 0;
  result.golden_loss = from.next<double>();
  result.faulty_loss = from.next<double>();
  result.golden_top1 = from.next<std::int32_t>();
  result.faulty_top1 = from.next<std::int32_t>();
  for (auto left = from.next<std::size_t>(); left > 0; --left) {
    result.metrics.push_back(from.next<double>());
  }
  for (auto left = from.next<std::size_t>(); left > 0; --left) {
    EditRecord record;
    record.edit.element = from.next<std::int64_t>();
    record.edit.register_index = from.next<std::int32_t>();
    record.edit.operation =
        from.counted<EditOperation>(static_cast<std::size_t>(EditOperation::kMultiply) + 1);
    record.edit.mask = from.next<std::uint32_t>();
    record.edit.value = from.next<float>();
    record.code_before = from.next<std::uint32_t>();
    record.code_after = from.next<std::uint32_t>();
    record.value_before = from.next<float>();
    record.value_after = from.next<float>();
    record.bit_class = from.next<std::int8_t>();
    result.edits.push_back(record);
  }
  result.message = from.text();
  from.end();
  return result;
}

void send_frame(int file, FrameKind kind, const std::string& body) {
  Packer packer;
  packer.add(kind);
  packer.add(body);
  if (!write_all(file, packer.body)) {
    throw std::runtime_error("the process that collects the results is gone");
  }
}

std::optional<Frame> receive_frame(int file) {
  constexpr std::size_t kMost = std::size_t{1} << 30;  // a worker that is wild may send anything
  Frame frame;
  std::size_t size = 0;
  if (!read_all(file, reinterpret_cast<char*>(&frame.kind), sizeof frame.kind)) return std::nullopt;
  if (!read_all(file, reinterpret_cast<char*>(&size), sizeof size)) return std::nullopt;
  if (size > kMost) throw std::runtime_error("a frame of a worker is too long");
  constexpr std::size_t kPiece = std::size_t{1} << 20;
  // Memory for what comes, not for what is said to come.
  while (frame.body.size() < size) {
    const std::size_t have = frame.body.size(), more = std::min(size - have, kPiece);
    frame.body.resize(have + more);
    if (!read_all(file, frame.body.data() + have, more)) return std::nullopt;
  }
  return frame;
}

}  // namespace bitfall
