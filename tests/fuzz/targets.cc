#include "targets.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <sstream>
#include <stdexcept>
#include <system_error>

#include "class_list.h"
#include "cluster_plan.h"
#include "config.h"
#include "convert.h"
#include "dataset.h"
#include "descriptions.h"
#include "diagnostics.h"
#include "embeddings.h"
#include "error.h"
#include "exported_program.h"
#include "fake_format.h"
#include "faults.h"
#include "file_list.h"
#include "foreign_faults.h"
#include "image.h"
#include "minisign.h"
#include "model_card.h"
#include "npy.h"
#include "opened_pack.h"
#include "pack_file.h"
#include "packed_images.h"
#include "plugin_note.h"
#include "report.h"
#include "run_fixture.h"
#include "seeds.h"
#include "sites.h"
#include "sqlite.h"
#include "store.h"
#include "store_schema.h"
#include "tensor_file.h"
#include "text_file.h"
#include "training_config.h"
#include "training_log.h"
#include "word_reader.h"
#include "worker_frames.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

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

/// What readers throw that leave the file's name to their callers.
void named(const fs::path& file, const std::function<void()>& read) {
  try {
    read();
  } catch (const Error&) {
    throw;
  } catch (const std::runtime_error& error) {
    throw Error(ExitCode::kInput, file.string() + ": " + error.what());
  }
}

void put(const fs::path& file, std::string_view bytes) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// Beside the file, a folder of its own; empty.
fs::path fresh_folder(const fs::path& file, const char* name) {
  const fs::path folder = file.parent_path() / name;
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

void read_exported(const fs::path& file) {
  with_exported_program(file, [](const ExportedProgram& program) {
    for (const ExportedTensor& tensor : program.tensors) {  // all within their storages
      std::int64_t last = tensor.offset;
      for (std::size_t d = 0; d < tensor.sizes.size(); ++d) {
        if (tensor.sizes[d] == 0) return;
        last += (tensor.sizes[d] - 1) * tensor.strides[d];
      }
      if (static_cast<std::size_t>(last) >= program.storages.at(tensor.storage).size()) {
        throw std::logic_error("a tensor outside its storage was accepted");
      }
    }
  });
}

void read_exported_graph(const fs::path& file) {
  const fs::path archive = file.parent_path() / "n.pt2";
  put(archive, exported_archive(content_of(file)));
  read_exported(archive);
}

void read_pickle_alone(const fs::path& file) {
  const fs::path archive = file.parent_path() / "archive.pth";
  put(archive, pytorch_archive(content_of(file)));
  read_table(archive, "");
}

void read_class_map(const fs::path& file) {
  EmbeddingFiles files;
  files.table = file.parent_path() / "table.npy";
  files.classes = file.parent_path() / "rows.txt";
  files.map = file;
  put(files.table, npy_seeds()[0]);
  put(files.classes, "row a\nrow_b\n");
  const std::vector<std::string> classes = {"cat", "dog"};
  class_embeddings(files, classes);
}

void read_foreign(const fs::path& file) {
  static const std::vector<Site> sites = {
      {"input", {}, Target::kInput, "input", {3, 2, 2}, 12, ""},
      {"conv1", {}, Target::kActivation, "conv", {4, 2, 2}, 16, ""},
      {"fc", {}, Target::kActivation, "linear", {5}, 5, ""},
      {"conv1.weight", {}, Target::kWeight, "conv", {4, 3, 1, 1}, 12, ""},
      {"fc.weight", {}, Target::kWeight, "linear", {5, 16}, 80, "cannot be hit"}};
  static const std::vector<NamedShape> parameters = {
      {"conv1.weight", {4, 3, 1, 1}}, {"conv1.bias", {4}}, {"fc.weight", {5, 16}}};
  const std::string bytes = read_text(file);
  for (const Target target : {Target::kActivation, Target::kWeight}) {
    ForeignOptions options;
    options.target = target;
    options.layers = {"conv", "linear"};
    options.numbers = bytes.size() % 2 == 0;
    const auto found = read_foreign_faults(file, bytes, sites, parameters, options);
    for (const ForeignFault& fault : found.faults) {
      for (const Edit& edit : fault.edits) {
        const std::int64_t values = sites[static_cast<std::size_t>(fault.site)].values;
        if (edit.element >= 0 && edit.element < values) continue;
        throw std::logic_error("a fault outside its site was accepted");
      }
    }
  }
}

void read_packed(const fs::path& file) {
  const auto images = PackedImages::open(file.parent_path(), "test");
  if (!images) return;
  for (std::int32_t row = 0; row < std::min(images->size(), 2); ++row) images->read(row);
}

void read_cifar_pickle(const fs::path& file) {
  put(file.parent_path() / "batches.meta", cifar_names_seeds()[0]);
  read_packed(file);
}
void read_cifar_names(const fs::path& file) {
  put(file.parent_path() / "test_batch", cifar_pickle_seeds()[0]);
  read_packed(file);
}
void read_cifar_binary(const fs::path& file) {
  put(file.parent_path() / "batches.meta.txt", "cat\ndog\n");
  read_packed(file);
}

void read_manifest_alone(const fs::path& file) {
  const fs::path folder = fresh_folder(file, "pack");
  put(folder / "gap.cc", "int gap;");
  fs::copy_file(file, folder / kManifest);
  read_manifest(folder, folder);
}
void read_sums(const fs::path& file) {
  const fs::path folder = fresh_folder(file, "pack");
  put(folder / "gap.cc", "int gap;");
  fs::copy_file(file, folder / kSums);
  check_sums(folder, {"gap.cc", kSums}, folder);
}
void read_pack(const fs::path& file) {
  OpenedPack opened;
  open_pack(file, {"", true}, opened);
  pack_text(opened);
}

void read_signature(const fs::path& file) {
  static const MinisignKey key = parse_minisign_key(content_of(minisign_vectors() / "signer.pub"));
  named(file, [&] { verify_minisign(minisign_vectors() / "message.txt", read_text(file), key); });
}
void read_key(const fs::path& file) {
  named(file, [&] {
    const MinisignKey key = parse_minisign_key(read_text(file));
    if (!(parse_minisign_key(key.text()) == key)) throw std::logic_error("another key is written");
  });
}

template <bool kCodes>
void read_numbers(const fs::path& file) {
  static const FakeFormat format;
  ConvertOptions options;
  options.file = file;
  options.codes = kCodes;
  options.flips = {"all"};
  convert({format, "fake", "a format"}, options, file_source(file), file.string(),
          [](std::string_view) {});
}

void read_plan_note(const fs::path& file) {
  const fs::path folder = fresh_folder(file, "plan");
  fs::copy_file(file, folder / "plan.json");
  const ClusterPlan plan = read_plan(folder);
  check_shard_number(plan, plan.shards);
}
void read_shard_note(const fs::path& file) {
  ClusterPlan plan;
  plan.directory = fresh_folder(file, "plan");
  plan.shards = 1;
  fs::create_directories(shard_directory(plan, 1));
  fs::copy_file(file, progress_file(plan, 1));
  shard_state(plan, 1);
}

void read_frames(const fs::path& file) {
  const std::unique_ptr<std::FILE, int (*)(std::FILE*)> in(std::fopen(file.c_str(), "re"),
                                                           std::fclose);
  named(file, [&] {
    while (const auto frame = receive_frame(fileno(in.get()))) {
      if (frame->kind == FrameKind::kTrial) {
        if (trial_of(to_body(trial_of(frame->body))).trial != trial_of(frame->body).trial) {
          throw std::logic_error("another trial is sent");
        }
      } else if (frame->kind == FrameKind::kGolden) {
        golden_of(frame->body);
      } else if (frame->kind == FrameKind::kReady || frame->kind == FrameKind::kBegins) {
        number_of(frame->body);
      }
    }
  });
}

void read_run(const fs::path& directory) {
  const auto store = Store::open_read_only(directory);
  std::ostringstream out;
  export_csv(*store, out);
  export_jsonl(*store, out);
  export_faults(*store, out);
  store->golden_rows();
  SummaryOptions quick;
  quick.estimate_means = false;
  report_text(summarise(*store, quick));
}

void read_store(const fs::path& file) {
  const fs::path directory = fresh_folder(file, "run");
  fs::rename(file, directory / "campaign.sqlite");
  read_run(directory);
}

// A sound run that is not finished, cells of which somebody has changed: bytes say which, and into
// what. SQLite's own checks and the seal see nothing of it.
class CellChanges {
 public:
  explicit CellChanges(std::string bytes) : bytes_(std::move(bytes)) {}

  void make(const fs::path& store) {
    const Database database(store, Database::Mode::kWrite);
    for (int change = 0; change < 4 && at_ < bytes_.size(); ++change) {
      const auto tables = column_of(
          database, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name", 0);
      const std::string& table = tables[next() % tables.size()];
      const auto columns = column_of(database, "PRAGMA table_info(" + table + ")", 1);
      const std::string column = sql_name(columns[next() % columns.size()]);
      const std::string row = std::to_string(next());
      std::string keys;
      for (const std::string& key : column_of(
               database, "SELECT name FROM pragma_table_info('" + table + "') WHERE pk > 0", 0)) {
        keys += (keys.empty() ? "" : ", ") + sql_name(key);
      }
      if (keys.empty()) keys = "rowid";
      Statement update(database, "UPDATE OR IGNORE " + table + " SET " + column + " = ?1 WHERE (" +
                                     keys + ") IN (SELECT " + keys + " FROM " + table +
                                     " LIMIT 1 OFFSET " + row + " % max(1, (SELECT count(*) FROM " +
                                     table + ")))");
      try {
        bind(update);
        update.run();
      } catch (const Error&) {  // NOT NULL and the like
      }
    }
  }

 private:
  static std::vector<std::string> column_of(const Database& database, const std::string& sql,
                                            int column) {
    std::vector<std::string> texts;
    Statement rows(database, sql);
    while (rows.step()) texts.push_back(rows.text(column));
    return texts;
  }

  unsigned next() { return at_ < bytes_.size() ? static_cast<unsigned char>(bytes_[at_++]) : 0; }
  std::string next(std::size_t size) {
    const std::size_t from = std::min(at_, bytes_.size());
    at_ += size;
    return bytes_.substr(from, size);
  }
  void bind(Statement& statement) {
    const unsigned kind = next() % 4;
    if (kind == 0) {
      statement.bind_null();
    } else if (kind == 3) {
      statement.bind(std::string_view(text_ = next(next())));
    } else {
      std::int64_t number = 0;
      const std::string eight = next(8);
      std::memcpy(&number, eight.data(), eight.size());
      double real = 0;
      std::memcpy(&real, &number, sizeof real);
      kind == 1 ? statement.bind(number) : statement.bind_real(real);
    }
  }

  std::string bytes_;
  std::string text_;
  std::size_t at_ = 0;
};

void read_cells(const fs::path& file) {
  static const std::string sound = store_seeds()[0];
  const fs::path directory = fresh_folder(file, "run");
  put(directory / "campaign.sqlite", sound);
  CellChanges(content_of(file)).make(directory / "campaign.sqlite");
  read_run(directory);
}

template <auto kParse>
void read_settings(const fs::path& file) {
  const std::string text = read_text(file);
  Diagnostics diagnostics(file.string(), text);
  kParse(file, text, diagnostics);
  diagnostics.throw_if_any();
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
    {"pickle", "data.pkl", read_pickle_alone, pickle_seeds,
     "ctorch._utils\n_rebuild_tensor_v2\n FloatStorage HalfStorage _rebuild_parameter OrderedDict "
     "tR "
     "K\x01 M\xff\xff J\xff\xff\xff\xff q\x01 h\x01 \x94 \x8c"},
    {"exported_program", "x.pt2", read_exported, exported_program_seeds,
     "PK\x01\x02 PK\x03\x04 PK\x05\x06 as_int as_tensor as_graph sizes strides storage_offset "
     "dtype"},
    {"exported_graph", "model.json", read_exported_graph, exported_graph_seeds,
     "as_none as_tensor as_tensors as_nested_tensors as_optional_tensor as_optional_tensors as_int "
     "as_ints "
     "as_float as_bool as_string as_complex real imag as_sym_int as_sym_ints as_name "
     "as_scalar_type as_graph graph "
     "inputs nodes outputs user_input constant_input buffer tensor_constant token Infinity NaN "
     "1e308 null [ ] { } \" :"},
    {"model_card", "x.pt", [](const fs::path& file) { read_model_card(file); }, card_seeds,
     "PK\x01\x02 PK\x03\x04 PK\x05\x06 bitfall.json classes input preprocess mean std [ ] { } \" "
     ":"},
    {"image", "x.png", [](const fs::path& file) { decode_image(file); }, image_seeds,
     "IHDR PLTE IDAT IEND tRNS P1 P2 P3 P4 P5 P6 RIFF WEBP VP8 VP8L VP8X II* MM BM \xFF\xD8\xFF "
     "\xFF\xC4"},
    {"class_list", "x.txt", [](const fs::path& file) { read_class_list(file); }, text_list_seeds,
     "n01440764 , \t [ ] { } \" \\u001b"},
    {"class_list_json", "x.json", [](const fs::path& file) { read_class_list(file); },
     text_list_seeds, "n01440764 , [ ] { } \" : 0 1 \\u001b"},
    {"descriptions", "x.json", [](const fs::path& file) { read_descriptions(file); },
     description_seeds, "[ ] { } \" : \\u001b ... null"},
    {"class_map", "x.json", read_class_map, class_map_seeds,
     "[ ] { } \" : , cat dog 0 1 -1 1e9 row_b"},
    {"file_list", "x.csv",
     [](const fs::path& file) { read_file_list(image_folder(), file, {}, false); }, file_list_seeds,
     "image label , \t \" cat/1.png dog/2.png 0 1"},
    {"file_list_json", "x.json",
     [](const fs::path& file) { read_file_list(image_folder(), file, {}, false); },
     file_list_json_seeds, "[ ] { } \" : , cat/1.png dog/2.png 0 1 null image label"},
    {"campaign", "x.toml", read_settings<parse_campaign>, campaign_seeds,
     "[campaign] [model] [data] [[faults]] [[formats]] [[protect]] [learn] [run] seed path "
     "per_site precision total id "
     "{ } [ ] = "
     "\"\"\" ''' 1e308 inf nan 0x 9223372036854775807 \\u001b"},
    {"training", "x.toml", read_settings<parse_training>, training_seeds,
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
    {"foreign_faults", "x.list", read_foreign, foreign_list_seeds,
     "layer_num dim1 dim2 dim3 batch value k function fingerprint result results bitmask "
     "Injection,Layer,TensorIndex,Bit "
     "layer,kernel,channel,row,col,bitmask nan None 1e999 -1 9223372036854775807 f4 i8 [ ] { } \" "
     ", :"},
    {"cifar_pickle", "test_batch", read_cifar_pickle, cifar_pickle_seeds,
     "labels data U\x06 K\x01 M\xff\xff J\xff\xff\xff\xff q\x01 h\x01 tb R( \x86 \x87"},
    {"cifar_names", "batches.meta", read_cifar_names, cifar_names_seeds,
     "label_names U\x03 ]( e u. q\x01 h\x01"},
    {"cifar_binary", "test_batch.bin", read_cifar_binary, cifar_binary_seeds, "\x01 \xff"},
    {"pack", "x.bitfall-pack", read_pack, pack_seeds,
     "pack.json SHA256SUMS ustar ../ / 0000644 \x28\xB5\x2F\xFD \x1F\x8B"},
    {"pack_manifest", "x.json", read_manifest_alone, pack_manifest_seeds,
     "schema bitfall.pack/1 name version abi components kind id sources prepare ../ gap.cc [ ] { } "
     "\" : -1 1e99 null"},
    {"pack_sums", "x.sums", read_sums, pack_sums_seeds, "gap.cc pack.json ../"},
    {"signature", "x.minisig", read_signature, signature_seeds,
     "trusted untrusted comment: RUT = =="},
    {"public_key", "x.pub", read_key, key_seeds, "RW = == untrusted comment:"},
    {"library_note", "x.so",
     [](const fs::path& file) {
       needs_text(library_needs(file));
       named(file, [&] { read_note(file); });
     },
     library_seeds,
     "Bitfall \x7f"
     "ELF abi headers components metric format"},
    {"note_text", "x.note",
     [](const fs::path& file) { named(file, [&] { parse_note(read_text(file)); }); },
     note_text_seeds,
     "abi headers compiler library name group metric format components -1 99999999999999999999"},
    {"converted", "x.txt", read_numbers<false>, converted_seeds,
     "0x1.8p3 nan inf -0 1e999 , e p ."},
    {"converted_codes", "x.txt", read_numbers<true>, converted_codes_seeds, "0x 0b ffffffff , 1"},
    {"plan", "x.json", read_plan_note, plan_seeds,
     "schema bitfall.plan/1 shards trials seconds null -1 1e99 9223372036854775807 [ ] { } \" :"},
    {"shard_note", "x.json", read_shard_note, shard_note_seeds,
     "schema bitfall.shard/1 finished planned done rate host process updated null 1e99 [ ] { } \" "
     ":"},
    {"worker_frames", "x.frames", read_frames, frame_seeds, "R S G T B F I"},
    {"store_cells", "x.cells", read_cells, cells_seeds,
     "\x01 \x02 \x03 \xff\xff\xff\xff nan 1e999 [1,2] bitfall"},
    {"store", "x.sqlite", read_store, store_seeds,
     "campaign facts trials edits CREATE TABLE VIEW TRIGGER"},
};

}  // namespace

std::span<const FuzzTarget> fuzz_targets() { return kTargets; }

std::string try_input(const FuzzTarget& target, std::string_view bytes, const fs::path& folder,
                      bool* read) {
  constexpr std::size_t kLongest = 16'384;
  const fs::path file = folder / target.file;
  put(file, bytes);
  try {
    target.read(file);
    if (read) *read = true;
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
