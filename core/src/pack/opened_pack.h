// A pack, unpacked and looked at; nothing of it has run.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "pack_file.h"
#include "temporary_folder.h"

namespace bitfall {

/// Who must have signed.
struct SignatureRequest {
  std::string key;         // a minisign public key, or its file; empty: the one that is known
  bool unsigned_ = false;  // takes packs whose signature is missing or of an unknown key
};

struct OpenedPack {
  TemporaryFolder folder;
  std::vector<std::string> files;  // sorted
  PackManifest manifest;
  std::string sha256;     // of the pack
  std::string signed_by;  // number of the key, or empty
  std::string key_text;   // its public key
  std::string comment;    // what the signer says
};

/// Unpacks, checks sums and PACK.minisig, the signature beside it. Throws Error(kInput) with what
/// is wrong.
void open_pack(const std::filesystem::path& pack, const SignatureRequest& request,
               OpenedPack& opened);

/// What the pack holds and who signed it, in lines.
std::string pack_text(const OpenedPack& pack);

}  // namespace bitfall
