#include "targets.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "class_list.h"
#include "config.h"
#include "dataset.h"
#include "descriptions.h"
#include "diagnostics.h"
#include "error.h"
#include "fake_format.h"
#include "faults.h"
#include "file_list.h"
#include "image.h"
#include "json_file.h"
#include "model_card.h"
#include "npy.h"
#include "report.h"
#include "run_fixture.h"
#include "sites.h"
#include "store.h"
#include "stored_zip.h"
#include "tensor_file.h"
#include "text_file.h"
#include "training_config.h"
#include "training_log.h"
#include "word_reader.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

std::string little(std::uint64_t value, int bytes) {
  std::string text;
  for (int i = 0; i < bytes; ++i) text += static_cast<char>(value >> (8 * i));
  return text;
}

// Seeds
// ---------------------------------------------------------------------------------------------

std::string npy(const std::string& type, const std::string& shape, std::size_t bytes) {
  std::string header =
      "{'descr': '" + type + "', 'fortran_order': False, 'shape': (" + shape + "), }\n";
  return std::string("\x93NUMPY\x01\x00", 8) + little(header.size(), 2) + header +
         std::string(bytes, '\1');
}

std::vector<std::string> npy_seeds() {
  return {npy("<f4", "2, 3", 24), npy("|u1", "2, 2, 2, 3", 24), npy("<i8", "3,", 24),
          npy("<f2", "", 2)};
}

std::vector<std::string> safetensors_seeds() {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"w":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})";
  return {little(header.size(), 8) + header + std::string(24, '\1')};
}

// What torch.save({"w": torch.ones(2, 3)}) pickles, protocol 2.
std::string pickled_tensor() {
  const auto text = [](const std::string& word) { return "X" + little(word.size(), 4) + word; };
  return "\x80\x02}" + text("w") + "ctorch._utils\n_rebuild_tensor_v2\n((" + text("storage") +
         "ctorch\nFloatStorage\n" + text("0") + text("cpu") + "K\x06tQ" + std::string("K\0", 2) +
         "K\x02K\x03\x86K\x03K\x01\x86\x89" + "ccollections\nOrderedDict\n)RtRs.";
}

// 2000 tensors that share one shape of 20 000 dimensions: a copy each would be 640 MB.
std::string shared_shape() {
  const auto text = [](const std::string& word) { return "X" + little(word.size(), 4) + word; };
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
    pickle += text("w" + std::to_string(i)) + "ctorch._utils\n_rebuild_tensor_v2\n((" +
              text("storage") + "ctorch\nFloatStorage\n" + text("0") + text("cpu") + "K\x06tQ" +
              std::string("K\0", 2) + shape + "h\x01\x89" + "ccollections\nOrderedDict\n)RtR";
  }
  return pickle + "u.";
}

std::vector<std::string> pytorch_seeds() {
  return {stored_zip({{"archive/data.pkl", shared_shape()},
                      {"archive/data/0", std::string(24, '\1')},
                      {"archive/byteorder", "little"},
                      {"archive/version", "3\n"}}),
          stored_zip({{"archive/data.pkl", pickled_tensor()},
                      {"archive/data/0", std::string(24, '\1')},
                      {"archive/byteorder", "little"},
                      {"archive/version", "3\n"}})};
}

std::vector<std::string> npz_seeds() {
  return {stored_zip({{"a.npy", npy("<f4", "2, 3", 24)}, {"b.npy", npy("<f8", "2, 3", 48)}})};
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

std::vector<std::string> campaign_seeds() {
  return {
      "[campaign]\nseed = 5\noutput = \"runs/x\"\n[model]\npath = \"a.pt\"\n[data]\npath = \"x\"\n"
      "preprocess = { resize = 8, crop = [8, 8], mean = [0.5, 0.5, 0.5], std = [1, 1, 1] }\n"
      "[format]\nid = \"int\"\nbits = 6\n[[formats]]\nformat = { id = \"fp16\" }\nsites = "
      "[\"a*\"]\n"
      "[calibration]\nrule = \"percentile\"\npercentile = 99.9\n[[faults]]\nerror_model = { id = "
      "\"bit_flip\", bits = [1, 2] }\ntarget = \"weight\"\nper_site = 100\n[[faults]]\nprecision = "
      "0.01\n"
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

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

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

// Readers
// -------------------------------------------------------------------------------------------

/// cat/1.png and dog/2.png, no pixel of which is read.
const fs::path& image_folder() {
  static const fs::path folder = [] {
    const fs::path root =
        fs::temp_directory_path() / ("bitfall_fuzz_images_" + std::to_string(::getpid()));
    for (const char* name : {"cat/1.png", "dog/2.png"}) {
      fs::create_directories((root / name).parent_path());
      std::ofstream(root / name) << "not decoded";
    }
    return root;
  }();
  return folder;
}

void read_npy(const fs::path& file) {
  const NpyFile array(file);
  constexpr std::int64_t kSome = 1000;
  std::vector<std::byte> bytes(static_cast<std::size_t>(std::min(array.elements(), kSome)) *
                               array.item_size());
  array.read(0, bytes);
}

void read_faults(const fs::path& file) {
  static const FakeFormat format;
  static const std::vector<Site> sites = {
      {"input", {}, Target::kInput, "input", {3, 2}, 6, ""},
      {"conv1", {"stem,0"}, Target::kActivation, "conv", {5}, 5, ""},
      {"roll", {}, Target::kActivation, "roll", {2}, 2, "its output mixes the images"},
      {"fc", {}, Target::kWeight, "linear", {2, 2}, 4, ""}};
  static const Dataset dataset = [] {
    DataConfig config;
    config.path = image_folder();
    config.preprocess.crop = 1;
    return Dataset::open(config);
  }();
  const auto faults = read_fault_list(file, read_text(file), sites, dataset, format);
  // What is accepted is written and read again.
  std::ostringstream out;
  write_fault_header(out);
  std::int64_t number = 0;
  for (const ListedFault& fault : faults) {
    const Site& site = sites[static_cast<std::size_t>(fault.site)];
    for (const Edit& edit : fault.edits) {
      write_fault_row(out, number, site, dataset.name(fault.image), edit,
                      format.registers()[static_cast<std::size_t>(edit.register_index)].name);
    }
    ++number;
  }
  if (read_fault_list(file, out.str(), sites, dataset, format).size() != faults.size()) {
    throw std::logic_error("a list that was accepted is another one when it is written");
  }
}

void read_store(const fs::path& file) {
  const fs::path directory = file.parent_path() / "run";
  fs::create_directories(directory);
  for (const char* suffix : {"", "-wal", "-shm", "-journal"}) {
    fs::remove(directory / ("campaign.sqlite" + std::string(suffix)));
  }
  fs::rename(file, directory / "campaign.sqlite");
  const auto store = Store::open_read_only(directory);
  std::ostringstream out;
  export_csv(*store, out);
  export_jsonl(*store, out);
  export_faults(*store, out);
  store->golden_rows();
  report_text(summarise(*store));
}

const FuzzTarget kTargets[] = {
    {"npy", "x.npy", read_npy, npy_seeds,
     "descr fortran_order shape <f4 <f8 |u1 <i8 True False \x93NUMPY"},
    {"npy_table", "x.npy", [](const fs::path& file) { read_table(file, ""); }, npy_seeds,
     "descr fortran_order shape <f4 <f2 99999999 \x93NUMPY"},
    {"npz", "x.npz", [](const fs::path& file) { read_table(file, ""); }, npz_seeds,
     "PK\x01\x02 PK\x03\x04 PK\x05\x06 .npy descr"},
    {"safetensors", "x.safetensors", [](const fs::path& file) { read_table(file, ""); },
     safetensors_seeds,
     "dtype shape data_offsets F32 F16 BF16 F64 __metadata__ [ ] { } 18446744073709551615"},
    {"pytorch", "x.pth", [](const fs::path& file) { read_table(file, ""); }, pytorch_seeds,
     "PK\x01\x02 PK\x03\x04 PK\x05\x06 data.pkl byteorder FloatStorage HalfStorage torch._utils "
     "_rebuild_tensor_v2 _rebuild_parameter OrderedDict"},
    {"model_card", "x.pt", [](const fs::path& file) { read_model_card(file); }, card_seeds,
     "PK\x01\x02 PK\x03\x04 PK\x05\x06 bitfall.json classes input preprocess mean std"},
    {"image", "x.png", [](const fs::path& file) { decode_image(file); }, image_seeds,
     "IHDR PLTE IDAT IEND tRNS P1 P2 P3 P4 P5 P6 RIFF WEBP VP8 VP8L VP8X II* MM BM \xFF\xD8\xFF "
     "\xFF\xC4"},
    {"class_list", "x.txt", [](const fs::path& file) { read_class_list(file); }, text_list_seeds,
     "n01440764 , \t [ ] { } \" \\u001b"},
    {"class_list_json", "x.json", [](const fs::path& file) { read_class_list(file); },
     text_list_seeds, "n01440764 , [ ] { } \" : 0 1 \\u001b"},
    {"descriptions", "x.json", [](const fs::path& file) { read_descriptions(file); },
     description_seeds, "[ ] { } \" : \\u001b ... null"},
    {"file_list", "x.csv",
     [](const fs::path& file) { read_file_list(image_folder(), file, {}, false); }, file_list_seeds,
     "image label , \t \" cat/1.png dog/2.png 0 1"},
    {"campaign", "x.toml",
     [](const fs::path& file) {
       const std::string text = read_text(file);
       Diagnostics diagnostics(file.string(), text);
       parse_campaign(file, text, diagnostics);
       diagnostics.throw_if_any();
     },
     campaign_seeds,
     "[campaign] [model] [data] [[faults]] [[formats]] [run] seed path per_site precision total id "
     "{ } [ ] = "
     "\"\"\" ''' 1e308 inf nan 0x 9223372036854775807 \\u001b"},
    {"training", "x.toml",
     [](const fs::path& file) {
       const std::string text = read_text(file);
       Diagnostics diagnostics(file.string(), text);
       parse_training(file, text, diagnostics);
       diagnostics.throw_if_any();
     },
     training_seeds,
     "[training] [model] [data] [optimizer] [schedule] epochs ema kind = inf nan 1e999"},
    {"fault_list", "x.csv", read_faults, fault_list_seeds,
     "site image target element register op mask fault flip set clear write value add multiply "
     "payload scale , \""},
    {"training_log", "x.csv",
     [](const fs::path& file) { parse_training_csv(read_text(file), file.string()); },
     training_log_seeds, "nan inf , -0 1e999"},
    {"numbers", "x.txt",
     [](const fs::path& file) {
       std::istringstream words(read_text(file));
       for (std::string word; words >> word;) {
         parse_real(word);
         parse_code(word);
       }
     },
     words_seeds, "0x 0b nan inf 1e 0x1p - + ."},
    {"store", "x.sqlite", read_store, store_seeds,
     "campaign facts trials edits CREATE TABLE VIEW TRIGGER"},
};

}  // namespace

std::span<const FuzzTarget> fuzz_targets() { return kTargets; }

std::string try_input(const FuzzTarget& target, std::string_view bytes, const fs::path& folder) {
  constexpr std::size_t kLongest = 16'384;
  const fs::path file = folder / target.file;
  std::ofstream(file, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  try {
    target.read(file);
  } catch (const Error& error) {
    const std::string message = error.what();
    if (message.find(folder.string()) == message.npos) return "does not name the file: " + message;
    if (message.size() > kLongest) {
      return "a message of " + std::to_string(message.size()) + " bytes: " + message.substr(0, 200);
    }
  } catch (const std::exception& error) {
    return std::string("throws what is no Error: ") + error.what();
  }
  return "";
}

std::vector<std::string> corpus(const FuzzTarget& target, const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code absent;
  for (const auto& entry : fs::directory_iterator(folder / target.name, absent))
    files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<std::string> contents;
  for (const fs::path& file : files) contents.push_back(content_of(file));
  return contents;
}

std::vector<std::string> regressions(const FuzzTarget& target) {
  return corpus(target, fs::path(BITFALL_SOURCE_DIR) / "tests" / "fuzz" / "regressions");
}

}  // namespace bitfall
