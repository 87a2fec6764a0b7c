// Arrays that end where memory ends.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <span>
#include <utility>

#include "bitfall/view.h"

namespace bitfall {

/// `size` values, 0 at first. To read or write one more is a segmentation fault. What is written
/// within a page's length before the first one is noticed by intact().
template <typename T>
class BoundedArray {
 public:
  explicit BoundedArray(std::size_t size = 0) : size_(size) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t inner = (size * sizeof(T) + page - 1) / page * page + page;
    bytes_ = inner + 2 * page;
    void* memory = mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    memory_ = static_cast<char*>(memory);
    first_ = memory_ + page;
    if (mprotect(first_, inner, PROT_READ | PROT_WRITE) != 0) {
      munmap(memory_, bytes_);
      throw std::bad_alloc();
    }
    char* const data = first_ + inner - size * sizeof(T);
    std::memset(first_, kFill, static_cast<std::size_t>(data - first_));
    data_ = reinterpret_cast<T*>(data);
  }
  explicit BoundedArray(std::span<const T> values) : BoundedArray(values.size()) {
    std::copy(values.begin(), values.end(), data_);
  }
  ~BoundedArray() {
    if (memory_ != nullptr) munmap(memory_, bytes_);
  }
  BoundedArray(BoundedArray&& other) noexcept
      : memory_(std::exchange(other.memory_, nullptr)),
        first_(other.first_),
        data_(other.data_),
        size_(other.size_),
        bytes_(other.bytes_) {}
  BoundedArray(const BoundedArray&) = delete;
  BoundedArray& operator=(const BoundedArray&) = delete;
  BoundedArray& operator=(BoundedArray&&) = delete;

  std::size_t size() const { return size_; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T* begin() { return data_; }
  T* end() { return data_ + size_; }
  const T* begin() const { return data_; }
  const T* end() const { return data_ + size_; }
  T& operator[](std::size_t index) { return data_[index]; }
  const T& operator[](std::size_t index) const { return data_[index]; }
  View<T> view() { return {data_, size_}; }
  View<const T> view() const { return {data_, size_}; }
  void fill(T value) { std::fill(begin(), end(), value); }

  /// False where something was written before the first value.
  bool intact() const {
    const auto before = static_cast<std::size_t>(reinterpret_cast<const char*>(data_) - first_);
    return *first_ == kFill && std::memcmp(first_, first_ + 1, before - 1) == 0;  // a page at least
  }

 private:
  static constexpr char kFill = 0x5A;
  char* memory_ = nullptr;
  char* first_ = nullptr;
  T* data_ = nullptr;
  std::size_t size_ = 0;
  std::size_t bytes_ = 0;
};

}  // namespace bitfall
