// Small inputs of the targets of fuzzing that are read, or nearly.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace bitfall {

/// A file's bytes; none where it cannot be read.
std::string content_of(const std::filesystem::path& path);

/// tests/vectors/minisign.
std::filesystem::path minisign_vectors();
/// What torch.save writes around a pickle with one storage of 24 bytes.
std::string pytorch_archive(const std::string& pickle);
/// What torch.export.save writes around a graph with one weight, "w" [2, 12].
std::string exported_archive(const std::string& graph);

std::vector<std::string> npy_seeds();
std::vector<std::string> safetensors_seeds();
std::vector<std::string> pickle_seeds();
std::vector<std::string> pytorch_seeds();
std::vector<std::string> npz_seeds();
std::vector<std::string> card_seeds();
std::vector<std::string> image_seeds();
std::vector<std::string> text_list_seeds();
std::vector<std::string> description_seeds();
std::vector<std::string> file_list_seeds();
std::vector<std::string> file_list_json_seeds();
std::vector<std::string> campaign_seeds();
std::vector<std::string> training_seeds();
std::vector<std::string> fault_list_seeds();
std::vector<std::string> training_log_seeds();
std::vector<std::string> words_seeds();
std::vector<std::string> store_seeds();
std::vector<std::string> exported_graph_seeds();
std::vector<std::string> exported_program_seeds();
std::vector<std::string> class_map_seeds();
std::vector<std::string> foreign_list_seeds();
std::vector<std::string> cifar_pickle_seeds();
std::vector<std::string> cifar_names_seeds();
std::vector<std::string> cifar_binary_seeds();
std::vector<std::string> pack_manifest_seeds();
std::vector<std::string> pack_sums_seeds();
std::vector<std::string> pack_seeds();
std::vector<std::string> signature_seeds();
std::vector<std::string> key_seeds();
std::vector<std::string> note_text_seeds();
std::vector<std::string> library_seeds();
std::vector<std::string> converted_seeds();
std::vector<std::string> converted_codes_seeds();
std::vector<std::string> plan_seeds();
std::vector<std::string> shard_note_seeds();
std::vector<std::string> frame_seeds();
std::vector<std::string> cells_seeds();

}  // namespace bitfall
