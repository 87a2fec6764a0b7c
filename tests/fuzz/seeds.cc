#include "seeds.h"

#include <link.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <utility>

#include "bitfall/plugin.h"
#include "run_fixture.h"
#include "sha256.h"
#include "stored_zip.h"
#include "training_log.h"
#include "worker_frames.h"

namespace bitfall {

namespace fs = std::filesystem;
using namespace std::string_literals;

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

fs::path minisign_vectors() {
  return fs::path(BITFALL_SOURCE_DIR) / "tests" / "vectors" / "minisign";
}

std::string pytorch_archive(const std::string& pickle) {
  return stored_zip({{"archive/data.pkl", pickle},
                     {"archive/data/0", std::string(24, '\1')},
                     {"archive/byteorder", "little"},
                     {"archive/version", "3\n"}});
}

std::string exported_archive(const std::string& graph) {
  return stored_zip(
      {{"n/archive_format", "pt2"},
       {"n/byteorder", "little"},
       {"n/models/model.json", graph},
       {"n/data/weights/model_weights_config.json",
        R"({"config": {"w": {"path_name": "weight_0", "is_param": true, "use_pickle": false, "tensor_meta": {"dtype": 7,
"sizes": [{"as_int": 2}, {"as_int": 12}], "strides": [{"as_int": 12}, {"as_int": 1}], "storage_offset": {"as_int": 0}, "layout": 7}}}})"},
       {"n/data/weights/weight_0", std::string(96, '\1')},
       {"n/data/constants/model_constants_config.json", R"({"config": {}})"}});
}

namespace {

std::string little(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

std::string npy(const std::string& type, const std::string& shape, std::size_t bytes) {
  std::string header =
      "{'descr': '" + type + "', 'fortran_order': False, 'shape': (" + shape + "), }\n";
  return std::string("\x93NUMPY\x01\x00", 8) + little(header.size(), 2) + header +
         std::string(bytes, '\1');
}

std::string pickled_text(const std::string& word) { return "X" + little(word.size(), 4) + word; }

// What torch.save({"w": torch.ones(2, 3)}) pickles, protocol 2.
std::string pickled_tensor() {
  return "\x80\x02}" + pickled_text("w") + "ctorch._utils\n_rebuild_tensor_v2\n((" +
         pickled_text("storage") + "ctorch\nFloatStorage\n" + pickled_text("0") +
         pickled_text("cpu") + "K\x06tQ" + std::string("K\0", 2) +
         "K\x02K\x03\x86K\x03K\x01\x86\x89" + "ccollections\nOrderedDict\n)RtRs.";
}

// 2000 tensors that share one shape of 20 000 dimensions: a copy each would be 640 MB.
std::string shared_shape() {
  std::string pickle = "\x80\x02}(";
  for (int i = 0; i < 2000; ++i) {
    const std::string shape = i == 0 ? "(" +
                                           [] {
                                             std::string ones;
                                             for (int k = 0; k < 20'000; ++k) ones += "K\x01";
                                             return ones;
                                           }() +
                                           "tq\x01"
                                     : std::string("h\x01");
    pickle += pickled_text("w" + std::to_string(i)) + "ctorch._utils\n_rebuild_tensor_v2\n((" +
              pickled_text("storage") + "ctorch\nFloatStorage\n" + pickled_text("0") +
              pickled_text("cpu") + "K\x06tQ" + std::string("K\0", 2) + shape + "h\x01\x89" +
              "ccollections\nOrderedDict\n)RtR";
  }
  return pickle + "u.";
}

/// As Python 2 pickles it.
std::string short_text(const std::string& word) {
  return "U" + std::string(1, static_cast<char>(word.size())) + word;
}

// What a pickle of an array begins with.
const std::string kArray = "cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85"s;

// An array of 7 rows and a column, as PyTorchALFI pickles its faults.
std::string pickled_array() {
  std::string values;
  for (const double value : {0.0, 0.0, 1.0, -1.0, -1.0, -1.0, 5.0}) {
    values.append(reinterpret_cast<const char*>(&value), sizeof value);
  }
  return "\x80\x03" + kArray + "C\x01" + "b\x87R(K\x01K\x07K\x01\x86" + "cnumpy\ndtype\n" +
         pickled_text("f8") + "K\0K\x01\x87R(K\x03"s + pickled_text("<") +
         "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff" + "K\0tb\x89"s + "B" + little(values.size(), 4) +
         values + "tb.";
}

// test_batch of CIFAR-10's Python version, with two images.
std::string cifar_pickle() {
  const std::string pixels(2 * 3072, '\7');
  return std::string("\x80\x02}(") + short_text("labels") + "](K\x01" + std::string("K\0", 2) +
         "e" + short_text("data") + kArray + short_text("b") + "\x87R(K\x01M" + little(2, 2) + "M" +
         little(3072, 2) + "\x86" + "cnumpy\ndtype\n" + short_text("u1") + "K\0K\x01\x87R(K\x03"s +
         short_text("|") + "NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff" + "K\0tb\x89"s + "T" +
         little(pixels.size(), 4) + pixels + "tbu.";
}

/// As tar writes it, and takes it without compression.
std::string tar_archive(const std::vector<std::pair<std::string, std::string>>& files) {
  std::string archive;
  for (const auto& [name, content] : files) {
    std::string header(512, '\0');
    const auto put = [&](std::size_t at, const std::string& text) {
      header.replace(at, text.size(), text);
    };
    char size[12], sum[8];
    std::snprintf(size, sizeof size, "%011o", static_cast<unsigned>(content.size()));
    put(0, name);
    put(100, "0000644");
    put(124, size);
    put(136, "00000000000");
    put(148, "        ");
    put(156, "0");
    put(257, std::string("ustar\00000", 8));
    unsigned total = 0;
    for (const unsigned char byte : header) total += byte;
    std::snprintf(sum, sizeof sum, "%06o", total);
    put(148, std::string(sum) + std::string(1, '\0') + " ");
    archive += header + content + std::string((512 - content.size() % 512) % 512, '\0');
  }
  return archive + std::string(1024, '\0');
}

/// A shared library of a header, one segment of notes, and nothing else.
std::string library_with_note(const std::string& text) {
  ElfW(Ehdr) header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = sizeof(void*) == 8 ? ELFCLASS64 : ELFCLASS32;
  header.e_phoff = sizeof header;
  header.e_phentsize = sizeof(ElfW(Phdr));
  header.e_phnum = 1;
  const std::string owner("Bitfall", 8);
  ElfW(Nhdr) note{static_cast<ElfW(Word)>(owner.size()), static_cast<ElfW(Word)>(text.size()), 1};
  ElfW(Phdr) segment{};
  segment.p_type = PT_NOTE;
  segment.p_offset = sizeof header + sizeof segment;
  segment.p_filesz = sizeof note + owner.size() + text.size();
  segment.p_align = 4;
  const auto bytes = [](const auto& of) {
    return std::string(reinterpret_cast<const char*>(&of), sizeof of);
  };
  return bytes(header) + bytes(segment) + bytes(note) + owner + text;
}

}  // namespace

std::vector<std::string> npy_seeds() {
  return {npy("<f4", "2, 3", 24), npy("|u1", "2, 2, 2, 3", 24), npy("<i8", "3,", 24),
          npy("<f2", "", 2)};
}

std::vector<std::string> safetensors_seeds() {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})";
  return {little(header.size(), 8) + header + std::string(24, '\1')};
}

std::vector<std::string> pickle_seeds() { return {shared_shape(), pickled_tensor()}; }

std::vector<std::string> pytorch_seeds() {
  return {pytorch_archive(shared_shape()), pytorch_archive(pickled_tensor())};
}

std::vector<std::string> npz_seeds() {
  return {stored_zip({{"a.npy", npy("<f4", "2, 3", 24)}, {"b.npy", npy("<f8", "6,", 48)}})};
}

std::vector<std::string> card_seeds() {
  return {stored_zip(
      {{"m/constants.pkl", "\x80\x02)."},
       {"m/extra/bitfall.json",
        R"({"classes": ["a", "b"], "input": [3, 8, 8], "preprocess": {"mean": [0.5], "std": [0.5]}})"}})};
}

std::vector<std::string> image_seeds() {
  std::string bmp = "BM" + little(54 + 16, 4) + little(0, 4) + little(54, 4) + little(40, 4) +
                    little(2, 4) + little(2, 4) + little(1, 2) + little(24, 2) +
                    std::string(24, '\0') + std::string(16, '\7');
  return {"P6\n2 2\n255\n" + std::string(12, '\7'), "P2\n2 2\n255\n1 2 3 4\n", bmp};
}

std::vector<std::string> text_list_seeds() {
  return {"cat\ndog\n", "n01440764 tench, Tinca tinca\nn01443537 goldfish\n", "[\"cat\", \"dog\"]",
          "{\"0\": [\"n01440764\", \"tench\"], \"1\": [\"n01443537\", \"goldfish\"]}",
          "0,cat\n1,dog\n"};
}

std::vector<std::string> description_seeds() {
  return {R"({"cat": ["A cat.", "a cat  purrs", "..."], "dog": ["barks"]})"};
}

std::vector<std::string> file_list_seeds() {
  return {"cat/1.png 0\ndog/2.png 1\n", "image,label\ncat/1.png,0\n\"dog/2.png\",1\n",
          "cat/1\ndog/2\n", "cat/1.png\t1\n"};
}

std::vector<std::string> file_list_json_seeds() {
  return {R"([["cat/1.png", 0], ["dog/2.png", 1]])", R"({"cat": ["1.png"], "dog": ["2.png"]})",
          R"({"cat": ["cat/1.png"], "dog": ["dog/2.png"]})"};
}

std::vector<std::string> campaign_seeds() {
  return {
      "[campaign]\nseed = 5\noutput = \"runs/x\"\n[model]\npath = \"a.pt\"\n[data]\npath = \"x\"\n"
      "preprocess = { resize = 8, crop = 8, mean = [0.5, 0.5, 0.5], std = [1, 1, 1] }\n"
      "[format]\nid = \"int\"\nbits = 6\n[[formats]]\nformat = { id = \"fp16\" }\nsites = "
      "[\"a*\"]\n"
      "[calibration]\nrule = \"percentile\"\npercentile = 99.9\n[[faults]]\nerror_model = { id = "
      "\"bit_flip\", bits = [1, 2] }\ntarget = \"weight\"\nper_site = 100\n[[faults]]\nprecision = "
      "0.01\n"
      "[[protect]]\nprotection = { id = \"clip\", margin = 2 }\nname = \"c\"\n"
      "[metrics]\nids = [\"mismatch\"]\n[plugins]\npaths = [\"p.so\"]\n[run]\nbatch = 8\nthreads = "
      "1\n"};
}

std::vector<std::string> training_seeds() {
  return {
      "[training]\nseed = 1\nepochs = 2\nbatch = 8\nema = 0.99\n[model]\npath = "
      "\"a.pt\"\n[data]\npath = "
      "\"x\"\n[validation]\npath = \"y\"\n[optimizer]\nkind = \"adamw\"\n[schedule]\nkind = "
      "\"cosine\"\n"
      "warmup_epochs = 1\n[augmentation]\nshift = 2\nflip = true\n[run]\ndevice = \"cpu\"\n"};
}

std::vector<std::string> fault_list_seeds() {
  return {
      "site,image,target,element,register,op,mask\nconv1,cat/1.png,activation,4,payload,flip,0x8\n"
      "fc,dog/2.png,weight,3,payload,set,F\ninput,cat/1.png,input,2,scale,clear,0X7\n",
      "fault,site,image,target,element,register,op,mask\n7,conv1,cat/"
      "1.png,activation,0,payload,write,1\n"
      "7,conv1,cat/1.png,activation,1,payload,value,0.5\n"};
}

std::vector<std::string> training_log_seeds() {
  EpochResult epoch;
  epoch.epoch = 1;
  return {training_csv(std::vector<EpochResult>{epoch, epoch})};
}

std::vector<std::string> words_seeds() { return {"0x3c00 1.5 nan -inf 1e-45 0b101\n17 0x 1e999"}; }

std::vector<std::string> store_seeds() {
  constexpr std::int64_t kTrials = 40;
  const fs::path directory =
      fs::temp_directory_path() / ("bitfall_fuzz_seed_" + std::to_string(::getpid()));
  std::vector<std::string> seeds;
  for (const bool finished : {false, true}) {
    fs::remove_all(directory);
    auto store = Store::create(directory, small_run(kTrials), 64);
    for (std::int32_t image = 0; image < 5; ++image)
      store->golden({image, 0.25, image % 3, 0.5f, 0.24, 1});
    for (std::int64_t id = 0; id < kTrials; ++id) store->trial(wild_trial(id, kTrials));
    store->commit();
    if (finished) store->finish(store->facts());
    store.reset();
    seeds.push_back(content_of(directory / "campaign.sqlite"));
  }
  fs::remove_all(directory);
  return seeds;
}

// A linear layer as torch.export writes it, less what nobody reads.
std::vector<std::string> exported_graph_seeds() {
  return {
      R"json({"graph_module": {"graph": {"inputs": [{"as_tensor": {"name": "p_w"}}, {"as_tensor": {"name": "x"}}],
"outputs": [{"as_tensor": {"name": "y"}}], "nodes": [{"target": "torch.ops.aten.flatten.using_ints",
"inputs": [{"name": "self", "arg": {"as_tensor": {"name": "x"}}}, {"name": "start_dim", "arg": {"as_int": 1}}],
"outputs": [{"as_tensor": {"name": "f"}}], "metadata": {"nn_module_stack": "L__self__,,N"}},
{"target": "torch.ops.aten.linear.default", "inputs": [{"name": "input", "arg": {"as_optional_tensor": {"as_tensor": {"name": "f"}}}},
{"name": "sizes", "arg": {"as_sym_ints": [{"as_name": "s"}, {"as_int": 2}]}}, {"name": "scale", "arg": {"as_float": "Infinity"}},
{"name": "weight", "arg": {"as_tensor": {"name": "p_w"}}}], "outputs": [{"as_tensor": {"name": "y"}}],
"metadata": {"nn_module_stack": "L__self__,,N;L__self__fc,fc,torch.nn.modules.linear.Linear"}}],
"tensor_values": {"x": {"dtype": 7, "sizes": [{"as_expr": {"expr_str": "Symbol('s77', positive=True)", "hint": {"as_int": 2}}},
{"as_int": 3}, {"as_int": 2}, {"as_int": 2}]}}}, "signature": {"input_specs": [{"parameter": {"arg": {"name": "p_w"}, "parameter_name": "w"}},
{"user_input": {"arg": {"as_tensor": {"name": "x"}}}}], "output_specs": [{"user_output": {"arg": {"as_tensor": {"name": "y"}}}}]},
"module_call_graph": [{"fqn": "", "signature": {"out_spec": "[1, {\"type\": null, \"context\": null, \"children_spec\": []}]",
"forward_arg_names": ["x"]}}, {"fqn": "fc", "signature": null}]}, "range_constraints": {"s77": {"min_val": 1, "max_val": null}},
"schema_version": {"major": 8, "minor": 20}, "verifiers": ["TRAINING"]})json"};
}

std::vector<std::string> exported_program_seeds() {
  return {exported_archive(exported_graph_seeds()[0])};
}

std::vector<std::string> class_map_seeds() {
  return {R"({"cat": "Row A", "dog": [1, "row_b"]})", R"({"cat": 0, "Dog": [2]})"};
}

std::vector<std::string> foreign_list_seeds() {
  return {
      R"([{"layer_num": [0, 0], "dim1": [1, 2], "dim2": [0, 0], "dim3": [0, 0], "batch": [0, 1], "value": [1.5, -2]},
{"layer_num": [0], "k": [1], "dim1": [1], "value": [0.5]}, {"function": "f"}])",
      R"({"fingerprint": 1, "result": {"results": [{"bitmask": [1, 2]}, {}]}})",
      pickled_array(),
      "layer,kernel,channel,row,col,bitmask\n0,1,1,,,1024\n",
      "batch,layer_num,dim1,dim2,dim3,value\n0,0,1,nan,None,2.5\n1,0.0,3,0,0,inf\n",
      "Injection,Layer,TensorIndex,Bit\n0,fc,\"(1, 0)\",30\n1,conv1,\"(0,)\",3\n"};
}

std::vector<std::string> cifar_pickle_seeds() { return {cifar_pickle()}; }
std::vector<std::string> cifar_names_seeds() {
  return {std::string("\x80\x02}(") + short_text("label_names") + "](" + short_text("cat") +
          short_text("dog") + "eu."};
}
std::vector<std::string> cifar_binary_seeds() {
  return {std::string(1, '\1') + std::string(3072, '\7') + std::string(3073, '\0')};
}

std::vector<std::string> pack_manifest_seeds() {
  return {
      R"({"schema": "bitfall.pack/1", "name": "gap", "version": "1.0", "summary": "An example", "group": "acme",
"licence": "MIT", "url": "https://example.org", "cite": "nobody", "abi": )" +
      std::to_string(kAbi) +
      R"(, "components": [{"kind": "metric", "id": "gap", "summary": "A change"}],
"sources": ["gap.cc"], "prepare": [["init", "-o", "x"]]})"};
}
std::vector<std::string> pack_sums_seeds() { return {sha256_text("int gap;") + "  gap.cc\n"}; }
std::vector<std::string> pack_seeds() {
  const std::string manifest = pack_manifest_seeds()[0];
  return {tar_archive({{"gap.cc", "int gap;\n"},
                       {"pack.json", manifest},
                       {"SHA256SUMS", sha256_text("int gap;\n") + "  gap.cc\n" +
                                          sha256_text(manifest) + "  pack.json\n"}})};
}
std::vector<std::string> signature_seeds() {
  return {content_of(minisign_vectors() / "message.txt.minisig"),
          content_of(minisign_vectors() / "legacy.minisig")};
}
std::vector<std::string> key_seeds() {
  return {content_of(minisign_vectors() / "signer.pub"),
          "RWTyfzr/i9xZvrvkIdVsfcOeO05BFDoCZz/dLD5/JTWzOfXL6zypZiAh"};
}

std::vector<std::string> note_text_seeds() {
  return {
      "abi 3\nheaders 1f\ncompiler g++ 12.2.0\nlibrary libstdc++ 12\nname gap\nversion "
      "1.0\nsummary An "
      "example\ngroup acme\nmetric gap A change\nformat nf4 Four bits\ncomponents 2\n"};
}
std::vector<std::string> library_seeds() { return {library_with_note(note_text_seeds()[0])}; }

std::vector<std::string> converted_seeds() { return {"1 2.5, -3\n0x1.8p3 inf nan\n"}; }
std::vector<std::string> converted_codes_seeds() { return {"0x7 f 0b101\n3"}; }

std::vector<std::string> plan_seeds() {
  return {R"({"schema": "bitfall.plan/1", "shards": 4, "trials": 1000, "seconds": 2.5})",
          R"({"schema": "bitfall.plan/1", "shards": 1, "trials": 0, "seconds": null})"};
}
std::vector<std::string> shard_note_seeds() {
  return {
      R"({"schema": "bitfall.shard/1", "finished": false, "planned": 10, "done": 5, "mismatches": 1, "dues": 0,
"rate": 12.5, "host": "a", "process": 7, "updated": 1700000000.5})"};
}

std::vector<std::string> frame_seeds() {
  constexpr std::int64_t kTrials = 40;
  const auto frame = [](FrameKind kind, const std::string& body) {
    return static_cast<char>(kind) + little(body.size(), 8) + body;
  };
  std::string frames = frame(FrameKind::kReady, to_body(kTrials)) +
                       frame(FrameKind::kGolden, to_body(GoldenResult{1, 0.25, 2, 0.5f, 0.24, 1})) +
                       frame(FrameKind::kBegins, to_body(3));
  for (std::int64_t id = 3; id < 6; ++id) {
    frames += frame(FrameKind::kTrial, to_body(wild_trial(id, kTrials)));
  }
  return {frames + frame(FrameKind::kConfined, "all") + frame(FrameKind::kFinished, "")};
}

// What read_cells (targets.cc) makes of them: table, column, row, kind of cell, the cell.
std::vector<std::string> cells_seeds() {
  return {"", "\x01\x02\x03\0"s, "\x0d\x04\x07\x01"s + little(9, 8), "\x05\x04\x01\x03\x03[2]"s,
          "\x02\x01\0\x04\x02\xff\0"s};
}

}  // namespace bitfall
