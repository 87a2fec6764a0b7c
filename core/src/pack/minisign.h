// Signatures of files in minisign's format (https://jedisct1.github.io/minisign/): Ed25519 over the
// file's BLAKE2b-512. Signing is left to minisign.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace bitfall {

struct MinisignKey {
  std::array<unsigned char, 8> id{};
  std::array<unsigned char, 32> point{};
  friend bool operator==(const MinisignKey&, const MinisignKey&) = default;
  /// As minisign prints it: "RWQ...", one line.
  std::string text() const;
  /// "A1B2C3D4E5F60708", as minisign numbers it.
  std::string name() const;
};

/// A public key: minisign's file of two lines, or the second of them alone. Throws
/// std::runtime_error with what it is not.
MinisignKey parse_minisign_key(std::string_view text);

/// What the signer wrote beside the signature, which is signed, too. Throws std::runtime_error with
/// the reason where `signature`, the text of a .minisig file, is not one of this file by this key.
std::string verify_minisign(const std::filesystem::path& file, std::string_view signature,
                            const MinisignKey& key);

}  // namespace bitfall
