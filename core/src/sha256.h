// SHA-256 of data that comes in pieces. For whole texts and files see sha256_text and sha256_file
// in store.h.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

struct evp_md_ctx_st;

namespace bitfall {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(const void* data, std::size_t bytes);
  /// The digest in hexadecimal; ends the computation.
  std::string hex();

 private:
  evp_md_ctx_st* context_;
};

}  // namespace bitfall
