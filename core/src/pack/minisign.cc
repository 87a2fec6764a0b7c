#include "minisign.h"

#include <openssl/evp.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <vector>

#include "words.h"

namespace bitfall {
namespace {

using Bytes = std::vector<unsigned char>;

Bytes decoded(std::string_view text, std::size_t bytes, const char* what) {
  const auto refuse = [&]() -> Bytes { throw std::runtime_error(std::string("is no ") + what); };
  if (text.empty() || text.size() % 4 != 0 || text.size() > 4096) return refuse();
  Bytes result(text.size() / 4 * 3);
  const int size =
      EVP_DecodeBlock(result.data(), reinterpret_cast<const unsigned char*>(text.data()),
                      static_cast<int>(text.size()));
  if (size < 0) return refuse();
  const auto padding = static_cast<std::size_t>(text.size() - (text.find_last_not_of('=') + 1));
  if (padding > 2 || result.size() - padding != bytes) return refuse();
  result.resize(bytes);
  return result;
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  for (std::string& line : split(text, '\n')) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) lines.push_back(std::move(line));
  }
  return lines;
}

Bytes blake2b(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error("cannot be read");
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(),
                                                                   EVP_MD_CTX_free);
  bool done = EVP_DigestInit_ex(context.get(), EVP_blake2b512(), nullptr) == 1;
  char block[1 << 16];
  while (done && file.read(block, sizeof block).gcount() > 0) {
    done = EVP_DigestUpdate(context.get(), block, static_cast<std::size_t>(file.gcount())) == 1;
  }
  Bytes digest(64);
  if (!done || EVP_DigestFinal_ex(context.get(), digest.data(), nullptr) != 1) {
    throw std::runtime_error("OpenSSL has no BLAKE2b-512");
  }
  return digest;
}

bool signed_by(const Bytes& message, const unsigned char* signature, const MinisignKey& key) {
  const std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)> point(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, key.point.data(), key.point.size()),
      EVP_PKEY_free);
  const std::unique_ptr<EVP_MD_CTX, void (*)(EVP_MD_CTX*)> context(EVP_MD_CTX_new(),
                                                                   EVP_MD_CTX_free);
  return point &&
         EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, point.get()) == 1 &&
         EVP_DigestVerify(context.get(), signature, 64, message.data(), message.size()) == 1;
}

std::string id_text(const unsigned char* id) {
  char text[17];
  for (int i = 0; i < 8; ++i) std::snprintf(text + 2 * i, 3, "%02X", id[7 - i]);
  return text;
}

}  // namespace

std::string MinisignKey::text() const {
  Bytes bytes = {'E', 'd'};
  bytes.insert(bytes.end(), id.begin(), id.end());
  bytes.insert(bytes.end(), point.begin(), point.end());
  std::string text(4 * (bytes.size() + 2) / 3 + 1, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()), bytes.data(),
                                   static_cast<int>(bytes.size()));
  text.resize(static_cast<std::size_t>(size));
  return text;
}

std::string MinisignKey::name() const { return id_text(id.data()); }

MinisignKey parse_minisign_key(std::string_view text) {
  constexpr const char* kWhat = "public key of minisign";
  const auto lines = lines_of(text);
  if (lines.empty()) throw std::runtime_error(std::string("is no ") + kWhat);
  const Bytes bytes = decoded(lines.back(), 42, kWhat);
  if (bytes[0] != 'E' || bytes[1] != 'd') throw std::runtime_error(std::string("is no ") + kWhat);
  MinisignKey key;
  std::copy_n(bytes.begin() + 2, key.id.size(), key.id.begin());
  std::copy_n(bytes.begin() + 10, key.point.size(), key.point.begin());
  return key;
}

std::string verify_minisign(const std::filesystem::path& file, std::string_view signature,
                            const MinisignKey& key) {
  constexpr const char* kWhat = "signature of minisign";
  constexpr std::string_view kTrusted = "trusted comment: ";
  const auto lines = lines_of(signature);
  if (lines.size() != 4 || !lines[2].starts_with(kTrusted)) {
    throw std::runtime_error(std::string("is no ") + kWhat);
  }
  const Bytes own = decoded(lines[1], 74, kWhat), global = decoded(lines[3], 64, kWhat);
  if (own[0] == 'E' && own[1] == 'd') {
    throw std::runtime_error(
        "is a signature of minisign's old kind, over the file itself: sign it with minisign 0.10 "
        "or "
        "later");
  }
  if (own[0] != 'E' || own[1] != 'D') throw std::runtime_error(std::string("is no ") + kWhat);
  if (!std::equal(key.id.begin(), key.id.end(), own.begin() + 2)) {
    throw std::runtime_error("was signed with another key: " + id_text(own.data() + 2) + ", not " +
                             key.name());
  }
  if (!signed_by(blake2b(file), own.data() + 10, key)) {
    throw std::runtime_error("is not of this file: the file was changed since key " + key.name() +
                             " signed it, or another key has that number");
  }
  const std::string comment = lines[2].substr(kTrusted.size());
  Bytes both(own.begin() + 10, own.end());
  both.insert(both.end(), comment.begin(), comment.end());
  if (!signed_by(both, global.data(), key)) {
    throw std::runtime_error("has a trusted comment that key " + key.name() + " did not sign");
  }
  return comment;
}

}  // namespace bitfall
