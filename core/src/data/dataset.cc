// A folder a class, or .npy arrays. Both become a list of entries; load() reads one of them.
#include "dataset.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <thread>
#include <unordered_map>
#include <utility>

#include "bad_input.h"
#include "class_folders.h"
#include "class_list.h"
#include "error.h"
#include "file_list.h"
#include "image.h"
#include "log.h"
#include "npy.h"
#include "numbers.h"
#include "packed_images.h"
#include "preprocess.h"
#include "progress.h"
#include "sha256.h"
#include "split_lists.h"
#include "stored_tensor.h"
#include "timer.h"
#include "utf8.h"
#include "words.h"
#include "worker_threads.h"

namespace bitfall {
namespace {

namespace fs = std::filesystem;

/// Pixels that are kept of images that were decoded to see whether they are broken, until they are
/// asked for.
constexpr std::size_t kKeptBytes = std::size_t{1} << 28;

// Arrays ------------------------------------------------------------------------------------------

/// How a row of an images array lies: float32 [C, H, W], or 8-bit [H, W, C] or [C, H, W].
struct ArrayLayout {
  bool floats = false;
  bool channels_last = false;
  std::int64_t channels = 0, height = 0, width = 0;
};

bool is_channel_count(std::int64_t size) { return size == 1 || size == 3; }

// How inputs of another rank reach a network: as images of the same values.
std::string advice_on_rank(const std::vector<std::int64_t>& shape) {
  if (shape.size() < 2) return "";
  const auto list = [](std::span<const std::int64_t> sizes) {
    std::string text;
    for (const std::int64_t size : sizes) text += ", " + std::to_string(size);
    return text;
  };
  const std::span<const std::int64_t> sizes(shape.data() + 1, shape.size() - 1);
  std::vector<std::int64_t> image(sizes.begin(), sizes.end());
  while (image.size() < 3) image.insert(image.begin(), 1);
  while (image.size() > 3) {
    image[image.size() - 2] *= image.back();
    image.pop_back();
  }
  return " (save array.reshape(" + std::to_string(shape[0]) + list(image) +
         "); a network that takes no such images: let it begin with x = x.reshape(-1" +
         list(sizes) + "))";
}

ArrayLayout float_layout(const fs::path& path, const NpyFile& array, const Preprocess& steps) {
  const auto& shape = array.shape();
  if (shape.size() != 4) {
    fail(path, "float32 images must be [N, C, H, W]; this array is " + array.shape_text() +
                   advice_on_rank(shape));
  }
  if (steps.resize || steps.crop) {
    fail(
        path,
        "data.preprocess.resize and crop are for 8-bit images; this array is float32 and must have "
        "the network's size already");
  }
  if (steps.colour == "grey" && shape[1] != 1) {
    fail(path, "data.preprocess.colour = \"grey\" is for 8-bit images; this float32 array has " +
                   std::to_string(shape[1]) + " channels");
  }
  return {true, false, shape[1], shape[2], shape[3]};
}

/// 8-bit images carry their channels last, or else first: the dimension that is 1 or 3. [N, H, W]
/// is grey.
ArrayLayout byte_layout(const fs::path& path, const NpyFile& array) {
  const auto& shape = array.shape();
  if (shape.size() == 3) return {false, true, 1, shape[1], shape[2]};
  if (shape.size() == 4 && is_channel_count(shape[3])) {
    return {false, true, shape[3], shape[1], shape[2]};
  }
  if (shape.size() == 4 && is_channel_count(shape[1])) {
    return {false, false, shape[1], shape[2], shape[3]};
  }
  fail(path,
       "uint8 images must be [N, H, W, C], [N, C, H, W] or [N, H, W] with 1 or 3 channels; this "
       "array is " +
           array.shape_text());
}

ArrayLayout layout_of(const fs::path& path, const NpyFile& array, const Preprocess& steps) {
  ArrayLayout layout;
  if (array.type() == NpyType::kFloat32) {
    layout = float_layout(path, array, steps);
  } else if (array.type() == NpyType::kUint8) {
    layout = byte_layout(path, array);
  } else {
    fail(path, std::string("images must be float32 or uint8; this array is ") +
                   npy_type_name(array.type()) + " (save array.astype(numpy.float32))");
  }
  const auto limit = static_cast<std::int64_t>(kMaxImagePixels);
  if (array.shape()[0] == 0) fail(path, "holds no images");
  if (array.shape()[0] > std::numeric_limits<std::int32_t>::max())
    fail(path, "holds too many images");
  if (layout.channels < 1 || layout.height < 1 || layout.width < 1 || layout.channels > limit ||
      layout.height > limit / layout.channels ||
      layout.width > limit / layout.channels / layout.height) {
    fail(path, "images of " + array.shape_text() + " are empty or too large");
  }
  return layout;
}

Image image_of(const std::vector<std::byte>& row, const ArrayLayout& layout) {
  Image image{static_cast<int>(layout.width),
              static_cast<int>(layout.height),
              static_cast<int>(layout.channels),
              {}};
  image.pixels.resize(row.size());
  const std::size_t channels = static_cast<std::size_t>(layout.channels);
  const std::size_t pixels = row.size() / channels;
  for (std::size_t i = 0; i < row.size(); ++i) {
    const std::size_t from = layout.channels_last ? i : i % channels * pixels + i / channels;
    image.pixels[i] = static_cast<std::uint8_t>(row[from]);
  }
  return image;
}

/// Whole numbers of an array, which may hold them as floats.
std::vector<std::int64_t> whole_numbers(const fs::path& path, const NpyFile& file) {
  const std::string type = npy_type_name(file.type());
  if (float_size(type) == 0) return file.read_integers();
  std::vector<std::byte> bytes(static_cast<std::size_t>(file.elements()) * file.item_size());
  file.read(0, bytes);
  const std::string_view view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  std::vector<std::int64_t> numbers;
  for (const float value : read_floats({"", type, file.shape(), row_major(file.shape()), view})) {
    constexpr float kExact = 1 << 24;
    if (!(std::abs(value) < kExact) || value != std::floor(value)) {
      fail(path, "the label of row " + std::to_string(numbers.size()) + " is " + exact_text(value) +
                     "; labels are whole numbers (save array.astype(numpy.int64))");
    }
    numbers.push_back(static_cast<std::int64_t>(value));
  }
  return numbers;
}

/// One label per image: [N], or with further dimensions of 1, as Keras has it.
std::vector<std::int32_t> read_labels(const fs::path& path, std::int64_t images,
                                      std::int64_t classes) {
  const NpyFile file(path);
  const auto& shape = file.shape();
  const auto ones = std::count(shape.begin(), shape.end(), 1);
  if (shape.empty() || file.elements() != images || std::ssize(shape) - ones > 1) {
    const bool rows = shape.size() == 2 && shape[0] == images && shape[1] > 1;
    fail(path, "labels must be [" + std::to_string(images) + "], one per image; this array is " +
                   file.shape_text() +
                   (rows ? "; where each row has one number per class, save array.argmax(1)" : ""));
  }
  std::vector<std::int32_t> labels;
  for (const std::int64_t label : whole_numbers(path, file)) {
    if (label < 0 || label >= classes) {
      fail(path, "the label of row " + std::to_string(labels.size()) + " is " +
                     std::to_string(label) + "; labels must be from 0 to " +
                     std::to_string(classes - 1) +
                     (label == classes ? ", and these seem to count from 1" : ""));
    }
    labels.push_back(static_cast<std::int32_t>(label));
  }
  return labels;
}

}  // namespace

// The data set ------------------------------------------------------------------------------------

struct Dataset::State {
  explicit State(const DataConfig& given) : config(given) {}

  void open_folder();
  void open_array();
  void follow_split();
  bool open_packed();
  void take_images(const ImageListing& listing);
  bool usable(const std::string& file);
  void add(std::string name, std::int32_t label);
  bool full() const { return config.limit > 0 && std::ssize(names) >= config.limit; }
  Image decode(const std::string& file) const;
  Image take_or_decode(std::int32_t image);
  void check_shape(const fs::path& path, const Image& image) const;
  void load_row(std::int32_t image, std::span<float> out) const;
  void keep(std::span<const std::int32_t> images);
  void finish();
  std::string content_digest(std::size_t image, std::vector<std::byte>& row) const;
  std::string whole_digest() const;

  DataConfig config;
  std::optional<Preprocessing> preprocessing;
  std::optional<NpyFile> array;  // none for a folder
  std::optional<PackedImages> packed;
  ArrayLayout layout;
  ClassList classes;
  bool numbered = false;  // nothing names the classes: their names are their numbers
  std::vector<std::string> names;
  std::vector<std::int32_t> labels;
  std::size_t row_bytes = 0;       // of an array
  std::vector<std::int32_t> rows;  // of an array or a set, where some were left out: by image
  std::unordered_map<std::string_view, std::int32_t>
      index;  // keys lie in `names`, which no longer grows
  std::array<std::int64_t, 3> shape{};
  std::vector<std::string> skipped;
  std::unique_ptr<std::once_flag> digested = std::make_unique<std::once_flag>();
  std::string digest;
  std::mutex kept_mutex;
  std::map<std::string, Image> kept;  // by file
  std::size_t kept_bytes = 0;
};

void Dataset::State::add(std::string name, std::int32_t label) {
  if (names.size() == static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max())) {
    fail(config.path, "holds too many images");
  }
  names.push_back(std::move(name));
  labels.push_back(label);
}

Image Dataset::State::decode(const std::string& file) const {
  const fs::path path = config.path / file;
  Image image = decode_image(path, config.preprocess.colour == "grey");
  try {
    return preprocessing->shape(std::move(image));
  } catch (const Error& error) {
    fail(path, error.what());
  }
}

/// Decodes a file only once where it has been decoded on opening.
Image Dataset::State::take_or_decode(std::int32_t image) {
  const std::string& file = names.at(static_cast<std::size_t>(image));
  {
    const std::lock_guard lock(kept_mutex);
    if (auto found = kept.extract(file)) return std::move(found.mapped());
  }
  return decode(file);
}

void Dataset::State::check_shape(const fs::path& path, const Image& image) const {
  if (image.height == shape[1] && image.width == shape[2]) return;
  const auto text = [](std::int64_t height, std::int64_t width) {
    return std::to_string(height) + " x " + std::to_string(width);
  };
  fail(path, "gives an input of " + text(image.height, image.width) +
                 " pixels (height x width), the first image one of " + text(shape[1], shape[2]) +
                 "; set data.preprocess.resize and crop so that all images get one shape");
}

/// With on_error = "skip": decodes the file, and keeps it for its first use, or puts it on the list
/// of skipped ones if it is broken.
bool Dataset::State::usable(const std::string& file) {
  const bool skip = config.on_error == "skip";
  if (!is_presentable(file)) {
    const std::string what =
        escaped_bytes(file) + ": the file name is not plain UTF-8 text; rename it";
    if (!skip) fail(config.path, what);
    skipped.push_back(what);
    return false;
  }
  if (!skip) return true;
  Image image;
  try {
    image = decode(file);
  } catch (const Error& error) {
    const std::string what = error.what();
    const std::string path = (config.path / file).string();
    skipped.push_back(what.starts_with(path) ? file + what.substr(path.size()) : what);
    return false;
  }
  if (shape[1] == 0) shape = {image.channels, image.height, image.width};
  check_shape(config.path / file, image);
  if (kept_bytes + image.pixels.size() <= kKeptBytes) {
    kept_bytes += image.pixels.size();
    kept.emplace(file, std::move(image));
  }
  return true;
}

/// Deals the files round-robin over the classes until the limit is reached.
void Dataset::State::take_images(const ImageListing& listing) {
  std::vector<std::size_t> next(listing.files.size());
  for (bool more = true; more && !full();) {
    more = false;
    for (std::size_t label = 0; label < next.size() && !full(); ++label) {
      const std::vector<std::string>& files = listing.files[label];
      while (next[label] < files.size() && !usable(files[next[label]])) ++next[label];
      if (next[label] == files.size()) continue;
      const std::string& file = files[next[label]++];
      add(file, static_cast<std::int32_t>(label));
      more = true;
    }
  }
  if (names.empty()) fail(config.path, "every image is broken; the first one: " + skipped.front());
}

void Dataset::State::open_folder() {
  if (!config.labels.empty()) {
    fail(config.labels,
         "data.labels goes with images in a .npy file; in a folder the folders are the labels");
  }
  const int channels = config.preprocess.colour == "grey" ? 1 : 3;
  preprocessing.emplace(config.preprocess, channels);
  if (const auto size = preprocessing->fixed_size()) shape = {channels, (*size)[0], (*size)[1]};
  const bool skip = config.on_error == "skip";
  ImageListing listing = config.list.empty()
                             ? list_class_folders(config.path, config.classes, skip)
                             : read_file_list(config.path, config.list, config.classes, skip);
  skipped = std::move(listing.skipped);
  take_images(listing);
  classes = std::move(listing.classes);
  numbered = listing.numbered;
  if (shape[1] == 0) {
    const Image first = decode(names.front());
    shape = {channels, first.height, first.width};
  }
}

void Dataset::State::open_array() {
  array.emplace(config.path);
  layout = layout_of(config.path, *array, config.preprocess);
  if (config.labels.empty())
    fail(config.path, "data.labels is needed: a .npy with one integer per image");
  if (!config.list.empty()) fail(config.list, "data.list goes with a folder of images");
  numbered = config.classes.empty();
  if (!numbered) classes = read_distinct_classes(config.classes);
  const std::int64_t images = array->shape()[0];
  const std::vector<std::int32_t> all =
      read_labels(config.labels, images, numbered ? kMostClasses : std::ssize(classes.names));
  if (numbered) {
    const std::int32_t last = *std::max_element(all.begin(), all.end());
    for (std::int32_t i = 0; i <= last; ++i) classes.names.push_back(std::to_string(i));
  }
  row_bytes =
      static_cast<std::size_t>(layout.channels * layout.height * layout.width) * array->item_size();
  for (std::int64_t row = 0; row < images && !full(); ++row) {
    add(std::to_string(row), all[static_cast<std::size_t>(row)]);
  }
  const int channels = layout.floats                        ? static_cast<int>(layout.channels)
                       : config.preprocess.colour == "grey" ? 1
                                                            : 3;
  preprocessing.emplace(config.preprocess, channels);
  shape = {channels, layout.height, layout.width};
  if (layout.floats) return;
  Image sized{static_cast<int>(layout.width), static_cast<int>(layout.height), channels, {}};
  sized.pixels.resize(static_cast<std::size_t>(channels * layout.height * layout.width));
  sized = preprocessing->shape(std::move(sized));
  shape = {channels, sized.height, sized.width};
}

/// Puts the parts of a set that has lists of its own in the place of its folder.
void Dataset::State::follow_split() {
  if (!config.list.empty()) {
    if (config.split.empty()) return;
    fail(config.list, "data.split chooses among a set's own lists; give one of the two");
  }
  const auto lists =
      find_split_lists(config.path, config.split.empty() ? config.default_split : config.split);
  if (!lists) return;
  config.path = lists->images;
  config.list = lists->list;
  if (config.classes.empty()) config.classes = lists->classes;
  config.split.clear();
}

/// CIFAR-10 and the like; false where the folder holds none of them.
bool Dataset::State::open_packed() {
  packed =
      PackedImages::open(config.path, config.split.empty() ? config.default_split : config.split);
  if (!packed) {
    if (config.split.empty()) return false;
    fail(config.path,
         "data.split goes with CIFAR-10, CIFAR-100, STL-10 or Food-101 in the files that their "
         "authors publish; this folder holds none of them");
  }
  if (!config.labels.empty()) {
    fail(config.labels,
         "data.labels goes with images in a .npy file; " + packed->set() + " has its own labels");
  }
  classes.names = packed->classes();
  if (!config.classes.empty()) classes = read_distinct_classes(config.classes);
  if (classes.names.size() != packed->classes().size()) {
    fail(config.classes, "names " + std::to_string(classes.names.size()) + " classes, and " +
                             packed->set() + " has " + std::to_string(packed->classes().size()));
  }
  for (std::int32_t row = 0; row < packed->size() && !full(); ++row) {
    add(packed->name(row), packed->label(row));
  }
  const int channels = config.preprocess.colour == "grey" ? 1 : 3;
  preprocessing.emplace(config.preprocess, channels);
  const Image first = preprocessing->shape(packed->read(0));
  shape = {channels, first.height, first.width};
  return true;
}

void Dataset::State::load_row(std::int32_t image, std::span<float> out) const {
  const std::int32_t row = rows.empty() ? image : rows[static_cast<std::size_t>(image)];
  if (layout.floats) {
    array->read(row * std::ssize(out), std::as_writable_bytes(out));
    preprocessing->scale(out);
    return;
  }
  std::vector<std::byte> bytes_of_row(row_bytes);
  array->read(row * std::ssize(bytes_of_row), bytes_of_row);
  preprocessing->scale(preprocessing->shape(image_of(bytes_of_row, layout)), out);
}

void Dataset::State::keep(std::span<const std::int32_t> images) {
  std::vector<std::string> kept_names;
  std::vector<std::int32_t> kept_labels, kept_rows;
  for (const std::int32_t image : images) {
    const auto i = static_cast<std::size_t>(image);
    kept_names.push_back(names.at(i));
    kept_labels.push_back(labels.at(i));
    kept_rows.push_back(rows.empty() ? image : rows.at(i));
  }
  index.clear();
  digested = std::make_unique<std::once_flag>();
  names = std::move(kept_names);
  labels = std::move(kept_labels);
  rows = std::move(kept_rows);
  finish();
}

void Dataset::State::finish() {
  index.reserve(names.size());
  for (std::size_t i = 0; i < names.size(); ++i) {
    index.emplace(names[i], static_cast<std::int32_t>(i));
  }
}

std::string Dataset::State::content_digest(std::size_t image, std::vector<std::byte>& row) const {
  const auto place = rows.empty() ? static_cast<std::int32_t>(image) : rows[image];
  if (packed) {
    const Image picture = packed->read(place);
    return sha256_text(
        {reinterpret_cast<const char*>(picture.pixels.data()), picture.pixels.size()});
  }
  if (!array) {
    const fs::path file = config.path / names[image];
    if (!fs::exists(file)) fail(file, "there is no such file");
    return sha256_file(file);
  }
  row.resize(row_bytes);
  const auto elements = static_cast<std::int64_t>(row.size() / array->item_size());
  array->read(place * elements, row);
  return sha256_text({reinterpret_cast<const char*>(row.data()), row.size()});
}

/// Threads take the images in blocks; their hashes go into the whole in the order of the images.
std::string Dataset::State::whole_digest() const {
  constexpr std::size_t kBlock = 16;
  std::vector<std::string> contents(names.size());
  std::atomic<std::size_t> next = 0, done = 0;
  Progress progress("reading images", static_cast<std::int64_t>(names.size()), 0);
  const auto start = Clock::now();
  const auto work = [&] {
    std::vector<std::byte> row;
    for (std::size_t first; (first = next.fetch_add(kBlock)) < names.size();) {
      const std::size_t end = std::min(first + kBlock, names.size());
      for (std::size_t i = first; i < end; ++i) contents[i] = content_digest(i, row);
      done += end - first;
      if (seconds_since(start) > 1) progress.update(static_cast<std::int64_t>(done.load()));
    }
  };
  constexpr std::int64_t kMostThreads = 8;  // disks are no faster with more
  const std::int64_t blocks = static_cast<std::int64_t>((names.size() + kBlock - 1) / kBlock);
  const std::int64_t cores = std::max<std::int64_t>(std::thread::hardware_concurrency(), 1);
  try {
    run_on(std::min({kMostThreads, cores, blocks}), work);
  } catch (const NoThread&) {
    work();  // alone
  }
  if (seconds_since(start) > 1) progress.finish();
  Sha256 sha;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string line = names[i] + '\n' + std::to_string(labels[i]) + ' ' + contents[i] + '\n';
    sha.update(line.data(), line.size());
  }
  return sha.hex();
}

Dataset::Dataset(std::unique_ptr<State> state) : state_(std::move(state)) {}
Dataset::~Dataset() = default;
Dataset::Dataset(Dataset&&) noexcept = default;

Dataset Dataset::open(const DataConfig& config) {
  auto state = std::make_unique<State>(config);
  std::error_code status;
  if (!fs::exists(config.path, status)) {
    fail(config.path, status && status != std::errc::no_such_file_or_directory
                          ? "cannot be read: " + status.message()
                          : "there is no such file or folder (data.path)");
  }
  if (fs::is_directory(config.path)) {
    state->follow_split();
    if (!state->config.list.empty() || !state->open_packed()) state->open_folder();
  } else {
    state->open_array();
  }
  state->finish();
  return Dataset(std::move(state));
}

void Dataset::keep(std::span<const std::int32_t> images) { state_->keep(images); }

std::int32_t Dataset::size() const { return static_cast<std::int32_t>(state_->names.size()); }

const std::vector<std::string>& Dataset::classes() const { return state_->classes.names; }

const std::vector<std::string>& Dataset::class_ids() const { return state_->classes.ids; }

bool Dataset::numbered() const { return state_->numbered; }

const std::string& Dataset::name(std::int32_t image) const {
  return state_->names.at(static_cast<std::size_t>(image));
}

std::int32_t Dataset::label(std::int32_t image) const {
  return state_->labels.at(static_cast<std::size_t>(image));
}

std::int32_t Dataset::find(std::string_view name) const {
  const auto found = state_->index.find(name);
  return found == state_->index.end() ? -1 : found->second;
}

std::array<std::int64_t, 3> Dataset::shape() const { return state_->shape; }

void Dataset::load(std::int32_t image, std::span<float> out) const {
  const auto [channels, height, width] = state_->shape;
  if (std::ssize(out) != channels * height * width) {
    throw std::invalid_argument("Dataset::load: the buffer is not of the image's size");
  }
  if (state_->array) return state_->load_row(image, out);
  if (state_->packed) {
    const auto& rows = state_->rows;
    const std::int32_t row = rows.empty() ? image : rows[static_cast<std::size_t>(image)];
    const auto& preprocessing = *state_->preprocessing;
    return preprocessing.scale(preprocessing.shape(state_->packed->read(row)), out);
  }
  const Image decoded = state_->take_or_decode(image);
  state_->check_shape(state_->config.path / name(image), decoded);
  state_->preprocessing->scale(decoded, out);
}

Image Dataset::picture(std::int32_t image) const {
  const int channels = static_cast<int>(state_->shape[0]);
  const auto& rows = state_->rows;
  const std::int32_t row = rows.empty() ? image : rows[static_cast<std::size_t>(image)];
  if (state_->packed) return with_channels(state_->packed->read(row), channels);
  if (!state_->array) {
    return with_channels(decode_image(state_->config.path / name(image), channels == 1), channels);
  }
  if (state_->layout.floats) {
    fail(state_->config.path, "holds float32 values, no pixels: random crops need 8-bit images");
  }
  std::vector<std::byte> bytes(state_->row_bytes);
  state_->array->read(row * std::ssize(bytes), bytes);
  return with_channels(image_of(bytes, state_->layout), channels);
}

const std::vector<std::string>& Dataset::skipped() const { return state_->skipped; }

const std::string& Dataset::digest() const {
  std::call_once(*state_->digested, [this] { state_->digest = state_->whole_digest(); });
  return state_->digest;
}

namespace {

/// Whether the class of the data is what the model calls `recorded`: by its id, or by its name, of
/// which lists write blanks and dashes in their own ways and add synonyms behind a comma.
bool same_class(const Dataset& dataset, std::size_t label, const std::string& recorded) {
  const std::string& name = dataset.classes()[label];
  if (name == recorded) return true;
  if (dataset.class_ids().empty()) return false;
  return dataset.class_ids()[label] == recorded || folded(name) == folded(recorded) ||
         folded(name.substr(0, name.find(','))) == folded(recorded);
}

/// Nothing but the names of folders says which output is which class.
void warn_of_order(const Dataset& dataset, const DataConfig& config) {
  const std::vector<std::string>& text = dataset.classes();
  const std::vector<std::string> natural = natural_order(text);
  const auto differs = std::mismatch(text.begin(), text.end(), natural.begin()).first;
  if (differs == text.end()) return;
  const auto first = static_cast<std::size_t>(differs - text.begin());
  const std::size_t shown = first == 0 ? 0 : first - 1;
  log_warning(config.path.string() + ": classes are taken in text order (" + excerpt(text, shown) +
              "), so output " + std::to_string(first) + " is " + in_quotes(text[first]) +
              "; in natural order (" + excerpt(natural, shown) + ") it is " +
              in_quotes(natural[first]) +
              "\n  if the model has another order than text order, as timm gives it, set [data] "
              "classes = \"FILE\", one name per line in the order of its outputs");
}

std::string hint_of_count(const Dataset& dataset, std::size_t wanted) {
  bool from_one = dataset.numbered() && dataset.classes().size() == wanted + 1;
  for (std::int32_t i = 0; i < dataset.size(); ++i) from_one &= dataset.label(i) > 0;
  if (from_one) return "\n  labels count from 0, and these seem to count from 1: subtract 1";
  return "\n  give [data] classes = \"FILE\" with the model's class names in the order of its "
         "outputs, one per line";
}

}  // namespace

void check_classes(const Dataset& dataset, const DataConfig& config,
                   const std::filesystem::path& model_path, std::int64_t outputs,
                   const std::vector<std::string>& recorded) {
  const auto& classes = dataset.classes();
  const auto wanted = static_cast<std::size_t>(outputs);
  const std::string data = config.path.string(), model = model_path.string();
  // The model may know more classes than occur among numbered ones.
  if (dataset.numbered() && classes.size() <= wanted) return;
  if (classes.size() != wanted) {
    fail(data + ": has " + std::to_string(classes.size()) + " classes, but the model " + model +
         " answers " + std::to_string(wanted) + hint_of_count(dataset, wanted));
  }
  if (recorded.size() != wanted) {
    if (config.classes.empty()) warn_of_order(dataset, config);
    return;
  }
  for (std::size_t i = 0; i < wanted; ++i) {
    if (same_class(dataset, i, recorded[i])) continue;
    fail(
        data + ": class " + std::to_string(i) + " is '" + classes[i] + "', but output " +
        std::to_string(i) + " of " + model + " is '" + recorded[i] +
        "' (recorded in the model)\n  give [data] classes = \"FILE\" with the names in the model's "
        "order, and name the folders likewise");
  }
}

}  // namespace bitfall
