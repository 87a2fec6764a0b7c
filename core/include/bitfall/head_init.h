// A head initialiser says how the last layers of a classifier are built and started. It returns
// plain numbers; the host makes the layers of them.
#pragma once

#include <cstdint>

#include "bitfall/random.h"
#include "bitfall/view.h"

namespace bitfall {

/// What a head is built for. Valid during the call only.
struct HeadRequest {
  std::uint32_t size;  // of this struct in bytes as the host knows it: later fields exist where it
                       // reaches them
  std::int64_t features;            // width of the values that the head is given; at least 1
  View<const char* const> classes;  // names in the order of the answer; at least 1
  View<const float> embeddings;  // [classes, embedding_width], row-major, finite, no row zero: row
                                 // c belongs to class c; empty where none were given
  std::int64_t embedding_width;  // 0 where none were given
};

/// Receives the layers in the order in which values pass through them. Names are snake_case and
/// unique in a head: they become the modules' names. The host copies all numbers.
class HeadLayers {
 public:
  /// y = W x + b. weight: [outputs, inputs], row-major; bias: [outputs], or empty for none.
  /// trainable: whether training changes weight and bias.
  virtual void linear(const char* name, std::int64_t outputs, std::int64_t inputs,
                      View<const float> weight, View<const float> bias, bool trainable) = 0;

  /// y = x / max(|x|, epsilon), |x| the Euclidean length of an image's values: 0 stays 0.
  /// epsilon > 0.
  virtual void normalise(const char* name, double epsilon) = 0;

  /// y = exp(log_factor) x.
  virtual void scale(const char* name, double log_factor, bool trainable) = 0;

  /// y = f(x), value by value: "relu", "gelu" (with erf), "silu", "sigmoid" or "tanh".
  virtual void activation(const char* name, Text function) = 0;

  /// y[o] = -factor |x - centre o|^2. centres: [outputs, inputs], row-major; factor > 0.
  virtual void distance(const char* name, std::int64_t outputs, std::int64_t inputs,
                        View<const float> centres, double factor, bool trainable) = 0;

 protected:
  ~HeadLayers() = default;
};

/// Thread-safe after construction.
class HeadInit {
 public:
  virtual ~HeadInit() = default;

  /// True if `build` reads HeadRequest::embeddings: the host then asks for them.
  virtual bool needs_embeddings() const { return false; }

  /// Adds at least one layer of kind linear or distance; the last one has one output per class.
  /// Throws std::invalid_argument("what is wrong and what is allowed") where the request does not
  /// fit the options.
  virtual void build(const HeadRequest& request, RandomStream& random,
                     HeadLayers& layers) const = 0;

  /// Abilities that later hosts ask for by name; null for those that it lacks.
  virtual const void* extension(const char* name) const {
    (void)name;
    return nullptr;
  }
};

}  // namespace bitfall
