#include "sha256.h"

#include <openssl/evp.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <vector>

#include "error.h"
#include "text_file.h"

namespace bitfall {
namespace {

[[noreturn]] void fail() {
  throw Error(ExitCode::kFailure, "OpenSSL cannot compute SHA-256 on this machine");
}

[[noreturn]] void cannot_read(const std::filesystem::path& path, int error) {
  throw Error(ExitCode::kInput, path.string() + ": cannot be read: " + std::strerror(error));
}

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  if (!context_ || EVP_DigestInit_ex(context_, EVP_sha256(), nullptr) != 1) {
    EVP_MD_CTX_free(context_);
    fail();
  }
}

Sha256::~Sha256() { EVP_MD_CTX_free(context_); }

void Sha256::update(const void* data, std::size_t bytes) {
  if (EVP_DigestUpdate(context_, data, bytes) != 1) fail();
}

std::string Sha256::hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  if (EVP_DigestFinal_ex(context_, digest.data(), &size) != 1) fail();
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (unsigned int i = 0; i < size; ++i) {
    text += kDigits[digest[i] >> 4];
    text += kDigits[digest[i] & 15];
  }
  return text;
}

std::string sha256_text(std::string_view text) {
  Sha256 hash;
  hash.update(text.data(), text.size());
  return hash.hex();
}

std::string sha256_file(const std::filesystem::path& path) {
  require_regular(path);
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "rb"),
                                                             std::fclose);
  if (!file) cannot_read(path, errno);
  Sha256 hash;
  std::vector<unsigned char> buffer(1 << 16);
  while (const std::size_t read = std::fread(buffer.data(), 1, buffer.size(), file.get())) {
    hash.update(buffer.data(), read);
  }
  if (std::ferror(file.get())) cannot_read(path, errno);  // a folder opens, but does not read
  return hash.hex();
}

}  // namespace bitfall
