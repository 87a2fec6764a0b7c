// SHA-256: of a text, of a file, of data that comes in pieces.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

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

/// In hexadecimal. sha256_file throws Error(kInput) if the file cannot be read.
std::string sha256_text(std::string_view text);
std::string sha256_file(const std::filesystem::path& path);

}  // namespace bitfall
