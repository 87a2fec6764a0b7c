#include "opened_pack.h"

#include <optional>

#include "bitfall/plugin.h"
#include "error.h"
#include "pack_archive.h"
#include "pack_store.h"
#include "sha256.h"
#include "text_file.h"
#include "utf8.h"
#include "words.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

std::optional<MinisignKey> given_key(const std::string& text) {
  if (text.empty()) return std::nullopt;
  std::error_code ignored;
  const bool file = fs::is_regular_file(text, ignored);
  try {
    return parse_minisign_key(file ? read_text(text) : text);
  } catch (const std::runtime_error& error) {
    throw Error(ExitCode::kUsage, "--key " + text + ": " + error.what() +
                                      (file ? "" : ", and there is no such file"));
  }
}

/// The key that must have signed, if any.
std::optional<MinisignKey> wanted_key(const std::string& name, const SignatureRequest& request) {
  const auto given = given_key(request.key), known = known_key(name);
  if (given && known && !(*given == *known)) {
    throw Error(ExitCode::kInput, "--key: earlier packs of " + name + " were signed with key " +
                                      known->name() + ", not " + given->name() +
                                      "; if its authors have a new key, 'bitfall plugin remove " +
                                      name + " --forget-key' first");
  }
  return given ? given : known;
}

void check_signature(const fs::path& pack, const SignatureRequest& request, OpenedPack& opened) {
  const fs::path file = pack.string() + ".minisig";
  const auto key = wanted_key(opened.manifest.id(), request);
  std::error_code ignored;
  const bool is_signed = fs::is_regular_file(file, ignored);
  if (is_signed && key) {
    try {
      opened.comment = verify_minisign(pack, read_text(file), *key);
    } catch (const std::runtime_error& error) {
      throw Error(ExitCode::kInput, file.string() + ": " + printable(error.what()));
    }
    opened.signed_by = key->name();
    opened.key_text = key->text();
    return;
  }
  if (request.unsigned_ || (!is_signed && !key)) return;
  if (is_signed) {
    throw Error(ExitCode::kInput, pack.string() +
                                      ": is signed, and the signer's key is not known: give --key, "
                                      "a public key that you have from the authors; --unsigned "
                                      "takes the pack as one that nobody signed");
  }
  throw Error(ExitCode::kInput, pack.string() + ": is not signed (" + file.string() +
                                    " is not there), and should be with key " + key->name() +
                                    "; --unsigned takes it all the same");
}

}  // namespace

void open_pack(const fs::path& pack, const SignatureRequest& request, OpenedPack& opened) {
  opened.files = unpack_archive(pack, opened.folder.path());
  opened.manifest = read_manifest(opened.folder.path(), pack);
  require_free_names(opened.manifest, opened.files, pack);
  opened.sha256 = sha256_file(pack);
  check_signature(pack, request, opened);
  check_sums(opened.folder.path(), opened.files, pack);
  if (opened.manifest.abi != kAbi) {
    throw Error(ExitCode::kInput, pack.string() + ": was made for ABI " +
                                      std::to_string(opened.manifest.abi) +
                                      ", this Bitfall has ABI " + std::to_string(kAbi) +
                                      ": ask its authors for a newer pack");
  }
}

std::string pack_text(const OpenedPack& pack) {
  const PackManifest& manifest = pack.manifest;
  std::string text = manifest.id() + " " + manifest.version + ": " + manifest.summary + "\n";
  for (const NotedComponent& component : manifest.components) {
    text += "  " + component.kind + " " + full_id(manifest.group, component.id) + ": " +
            component.summary + "\n";
  }
  for (const auto& [key, value] :
       {std::pair("licence", manifest.licence), {"url", manifest.url}, {"cite", manifest.cite}}) {
    if (!value.empty()) text += std::string("  ") + key + " " + value + "\n";
  }
  text += "  SHA-256 " + pack.sha256 + ", " + std::to_string(pack.files.size()) + " files\n";
  text += pack.signed_by.empty() ? "  not signed\n"
                                 : "  signed with key " + pack.signed_by +
                                       (pack.comment.empty() ? "" : ": " + pack.comment) +
                                       " (a signature tells who, not how safe)\n";
  return printable(text);
}

}  // namespace bitfall
