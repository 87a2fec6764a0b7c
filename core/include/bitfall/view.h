// Text and runs of values that cross between host and plugin. Both are a pointer and a count, laid
// out alike by every compiler and standard library, which std::string_view and std::span are not.
#pragma once

#include <concepts>
#include <cstddef>
#include <iterator>
#include <ranges>
#include <string>
#include <string_view>
#include <type_traits>

namespace bitfall {

/// Characters that somebody else owns, UTF-8. Converts from and to std::string_view.
class Text {
 public:
  constexpr Text() = default;
  constexpr Text(const char* data, std::size_t size) : data_(data), size_(size) {}
  constexpr Text(const char* text)
      : data_(text), size_(std::char_traits<char>::length(text)) {}  // zero-terminated
  constexpr Text(std::string_view text) : data_(text.data()), size_(text.size()) {}
  Text(const std::string& text) : data_(text.data()), size_(text.size()) {}

  constexpr const char* data() const { return data_; }
  constexpr std::size_t size() const { return size_; }
  constexpr bool empty() const { return size_ == 0; }
  constexpr operator std::string_view() const { return {data_, size_}; }

  friend constexpr bool operator==(Text a, Text b) {
    return std::string_view(a) == std::string_view(b);
  }

 private:
  const char* data_ = "";
  std::size_t size_ = 0;
};

/// `size()` values in a row that somebody else owns; View<const T> may not be written. Converts
/// from and to std::span, and from arrays and vectors.
template <typename T>
class View {
 public:
  using element_type = T;
  using value_type = std::remove_cv_t<T>;

  constexpr View() = default;
  constexpr View(T* data, std::size_t size) : data_(data), size_(size) {}
  template <std::size_t kSize>
  constexpr View(T (&array)[kSize]) : data_(array), size_(kSize) {}
  /// Of any container whose values lie in a row; it must outlive the view.
  template <typename Container>
    requires(!std::is_array_v<std::remove_cvref_t<Container>> &&
             !std::same_as<std::remove_cvref_t<Container>, View> &&
             requires(Container&& container) {
               requires std::is_convertible_v<
                   std::remove_pointer_t<decltype(std::data(container))>(*)[], T(*)[]>;
               { std::size(container) } -> std::convertible_to<std::size_t>;
             } &&
             (std::is_const_v<T> || std::is_lvalue_reference_v<Container> ||
              std::ranges::borrowed_range<Container>))
  constexpr View(Container&& container)
      : data_(std::data(container)), size_(std::size(container)) {}

  constexpr T* data() const { return data_; }
  constexpr std::size_t size() const { return size_; }
  constexpr std::size_t size_bytes() const { return size_ * sizeof(T); }
  constexpr bool empty() const { return size_ == 0; }
  constexpr T* begin() const { return data_; }
  constexpr T* end() const { return data_ + size_; }
  constexpr T& operator[](std::size_t index) const { return data_[index]; }
  constexpr T& front() const { return data_[0]; }
  constexpr T& back() const { return data_[size_ - 1]; }

  constexpr View first(std::size_t count) const { return {data_, count}; }
  constexpr View last(std::size_t count) const { return {data_ + (size_ - count), count}; }
  constexpr View subspan(std::size_t from) const { return {data_ + from, size_ - from}; }
  constexpr View subspan(std::size_t from, std::size_t count) const {
    return {data_ + from, count};
  }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace bitfall

template <typename T>
inline constexpr bool std::ranges::enable_borrowed_range<bitfall::View<T>> = true;
template <typename T>
inline constexpr bool std::ranges::enable_view<bitfall::View<T>> = true;
