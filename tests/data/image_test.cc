// The oracle is Pillow (and torchvision in dataset_test.cc), run at test time.
#include "image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <jpeglib.h>

#include <cstdio>
#include <fstream>
#include <functional>
#include <random>

#include "error.h"
#include "python_oracle.h"
#include "refusal.h"
#include "resize.h"

namespace bitfall::image_test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;
using testing::StartsWith;

const fs::path kPhotographs = fs::path(BITFALL_SHARED_DATA) / "imagenet_samples";

#define SKIP_WITHOUT_PYTHON() \
  if (!has_python()) GTEST_SKIP() << "no Python with Pillow at " << BITFALL_PYTHON

#define SKIP_WITHOUT_PHOTOGRAPHS() \
  if (!fs::exists(kPhotographs)) GTEST_SKIP() << "no photographs in " << kPhotographs

std::string bytes_of(const Image& image) {
  return {reinterpret_cast<const char*>(image.pixels.data()), image.pixels.size()};
}

/// Names the first difference; a whole image in a failure message helps nobody.
void expect_same(const Image& image, const OracleAnswer& expected, const std::string& what) {
  ASSERT_TRUE(expected.ok()) << what << ": the oracle says" << expected.error;
  ASSERT_EQ(expected.sizes, (std::vector<std::int64_t>{image.width, image.height, image.channels}))
      << what;
  const std::string bytes = bytes_of(image);
  ASSERT_EQ(bytes.size(), expected.data.size()) << what;
  std::size_t different = 0;
  std::size_t first = bytes.size();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] == expected.data[i]) continue;
    ++different;
    first = std::min(first, i);
  }
  EXPECT_EQ(different, 0U) << what << ": of " << bytes.size() << " bytes, the first at " << first
                           << ": " << int{static_cast<std::uint8_t>(bytes[first])} << " for "
                           << int{static_cast<std::uint8_t>(expected.data[first])};
}

std::string read_bytes(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

void write_bytes(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary)
      .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

/// Decodes every file of `folder` in both modes and compares with Pillow. `at_least` keeps the test
/// from running empty.
void expect_folder_as_pillow(const fs::path& folder, std::size_t at_least) {
  for (const bool grey : {false, true}) {
    const auto answers = ask_oracle({"decode", grey ? "L" : "RGB", folder.string()}, 1);
    const auto files = files_in(folder);
    ASSERT_GE(files.size(), at_least);
    ASSERT_EQ(answers.size(), files.size());
    for (std::size_t i = 0; i < files.size(); ++i) {
      expect_same(decode_image(files[i], grey), answers[i],
                  files[i].filename().string() + (grey ? " as L" : " as RGB"));
    }
  }
}

fs::path folder_of(const std::string& command, const std::string& name) {
  const fs::path folder = fresh_folder(testing::TempDir(), name);
  run_oracle({command, folder.string()});
  return folder;
}

struct JpegKind {
  const char* name;
  int components;
  J_COLOR_SPACE space;  // of the file
  int sampling[4][2];   // [component] {horizontal, vertical}
  bool adobe;
};

/// Writes noise over a gradient with libjpeg directly: kinds of file that Pillow cannot write.
void write_jpeg(const fs::path& path, const JpegKind& kind, unsigned width, unsigned height) {
  std::mt19937 random(7);
  jpeg_compress_struct encoder;
  jpeg_error_mgr errors;
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  FILE* file = std::fopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  jpeg_stdio_dest(&encoder, file);
  encoder.image_width = width;
  encoder.image_height = height;
  encoder.input_components = kind.components;
  encoder.in_color_space = kind.components == 4 ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&encoder);
  jpeg_set_colorspace(&encoder, kind.space);
  jpeg_set_quality(&encoder, 85, TRUE);
  encoder.write_Adobe_marker = kind.adobe ? TRUE : FALSE;
  for (int c = 0; c < kind.components; ++c) {
    encoder.comp_info[c].h_samp_factor = kind.sampling[c][0];
    encoder.comp_info[c].v_samp_factor = kind.sampling[c][1];
  }
  jpeg_start_compress(&encoder, TRUE);
  std::vector<std::uint8_t> row(width * static_cast<std::size_t>(kind.components));
  while (encoder.next_scanline < height) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      row[i] =
          static_cast<std::uint8_t>(i * 2 + std::size_t{encoder.next_scanline} * 3 + random() % 64);
    }
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&encoder, &pointer, 1);
  }
  jpeg_finish_compress(&encoder);
  jpeg_destroy_compress(&encoder);
  std::fclose(file);
}

TEST(Image, DecodesPhotographsAsPillow) {
  SKIP_WITHOUT_PYTHON();
  SKIP_WITHOUT_PHOTOGRAPHS();
  expect_folder_as_pillow(kPhotographs, 24);
}

TEST(Image, DecodesEveryKindOfPngAsPillow) {
  SKIP_WITHOUT_PYTHON();
  expect_folder_as_pillow(folder_of("pngs", "image_pngs"), 60);
}

TEST(Image, DecodesPillowsJpegsAsPillow) {
  SKIP_WITHOUT_PYTHON();
  expect_folder_as_pillow(folder_of("jpegs", "image_jpegs"), 100);
}

TEST(Image, DecodesOddSamplingAndCmykAsPillow) {
  SKIP_WITHOUT_PYTHON();
  const JpegKind kinds[] = {
      {"ycc_h1v2", 3, JCS_YCbCr, {{1, 2}, {1, 1}, {1, 1}}, false},
      {"ycc_h4v1", 3, JCS_YCbCr, {{4, 1}, {1, 1}, {1, 1}}, false},
      {"ycc_h1v4", 3, JCS_YCbCr, {{1, 4}, {1, 1}, {1, 1}}, false},
      {"ycc_h4v2", 3, JCS_YCbCr, {{4, 2}, {1, 1}, {1, 1}}, false},
      {"ycc_h2v4", 3, JCS_YCbCr, {{2, 4}, {1, 1}, {1, 1}}, false},
      {"ycc_h3v1", 3, JCS_YCbCr, {{3, 1}, {1, 1}, {1, 1}}, false},
      {"ycc_mixed", 3, JCS_YCbCr, {{2, 2}, {2, 1}, {1, 2}}, false},
      {"ycc_chroma_finer", 3, JCS_YCbCr, {{1, 1}, {2, 2}, {2, 2}}, false},
      {"rgb_adobe", 3, JCS_RGB, {{1, 1}, {1, 1}, {1, 1}}, true},
      {"rgb_no_marker", 3, JCS_RGB, {{1, 1}, {1, 1}, {1, 1}}, false},
      {"cmyk_adobe", 4, JCS_CMYK, {{1, 1}, {1, 1}, {1, 1}, {1, 1}}, true},
      {"cmyk_no_marker", 4, JCS_CMYK, {{1, 1}, {1, 1}, {1, 1}, {1, 1}}, false},
      {"ycck_full", 4, JCS_YCCK, {{1, 1}, {1, 1}, {1, 1}, {1, 1}}, true},
      {"ycck_420", 4, JCS_YCCK, {{2, 2}, {1, 1}, {1, 1}, {2, 2}}, true},
      {"ycck_no_marker", 4, JCS_YCCK, {{2, 1}, {1, 1}, {1, 1}, {2, 1}}, false},
  };
  const fs::path folder = fresh_folder(testing::TempDir(), "image_odd_jpegs");
  for (const JpegKind& kind : kinds) {
    for (const auto& [width, height] : {std::pair{1U, 1U}, {3U, 2U}, {45U, 38U}, {101U, 67U}}) {
      write_jpeg(folder / (std::string(kind.name) + "_" + std::to_string(width) + ".jpg"), kind,
                 width, height);
    }
  }
  expect_folder_as_pillow(folder, 60);
}

TEST(Image, DecodesBmpsAsPillow) {
  SKIP_WITHOUT_PYTHON();
  expect_folder_as_pillow(folder_of("bmps", "image_bmps"), 97);
}

TEST(Image, DecodesPnmsAsPillow) {
  SKIP_WITHOUT_PYTHON();
  expect_folder_as_pillow(folder_of("pnms", "image_pnms"), 174);
}

TEST(Image, DecodesTiffsAsPillow) {
  SKIP_WITHOUT_PYTHON();
  expect_folder_as_pillow(folder_of("tiffs", "image_tiffs"), 247);
}

TEST(Image, DecodesWebpsAsPillow) {
  SKIP_WITHOUT_PYTHON();
  expect_folder_as_pillow(folder_of("webps", "image_webps"), 254);
}

TEST(Image, LooksAtContentAndNotAtTheName) {
  SKIP_WITHOUT_PYTHON();
  const std::pair<const char*, const char*> files[] = {{"pngs", "hand_2_8_plain.png"},
                                                       {"bmps", "plain_24_40.bmp"},
                                                       {"pnms", "p6_13_255.ppm"},
                                                       {"tiffs", "ii_2_3_8.tif"},
                                                       {"webps", "noise_7x5_RGB_good.webp"}};
  for (const auto& [kind, name] : files) {
    const fs::path folder = folder_of(kind, "image_renamed");
    const std::string before = bytes_of(decode_image(folder / name));
    fs::rename(folder / name, folder / "a.jpg");
    EXPECT_EQ(bytes_of(decode_image(folder / "a.jpg")), before) << name;
  }
}

/// The order of the passes changed with Pillow 13, see resize.
int pillow_major() { return std::stoi(run_oracle({"version", "PIL"})); }

#define SKIP_WITHOUT_PILLOW_13() \
  SKIP_WITHOUT_PYTHON();         \
  if (pillow_major() < 13) GTEST_SKIP() << "the oracle of resizing is Pillow 13 or later"

using Sizes = std::vector<std::array<int, 2>>;

/// Resizes each file to each of the sizes by each filter and compares with Pillow.
void expect_resized_as_pillow(const std::vector<std::string>& files, const Sizes& sizes,
                              bool grey) {
  std::string sizes_text;
  for (const auto& [width, height] : sizes) {
    sizes_text +=
        (sizes_text.empty() ? "" : ",") + std::to_string(width) + "x" + std::to_string(height);
  }
  for (std::size_t filter = 0; filter < kInterpolationNames.size(); ++filter) {
    const char* const name = kInterpolationNames[filter];
    std::vector<std::string> arguments = {"resize", grey ? "L" : "RGB", name, sizes_text};
    arguments.insert(arguments.end(), files.begin(), files.end());
    const auto answers = ask_oracle(arguments, 1);
    ASSERT_EQ(answers.size(), sizes.size() * files.size());
    for (std::size_t i = 0; i < answers.size(); ++i) {
      const std::string& file = files[i / sizes.size()];
      const auto& [width, height] = sizes[i % sizes.size()];
      const Image resized =
          resize(decode_image(file, grey), width, height, static_cast<Interpolation>(filter));
      expect_same(
          resized, answers[i],
          file + " to " + std::to_string(width) + " x " + std::to_string(height) + " by " + name);
    }
  }
}

TEST(Image, ResizesAsPillow) {
  SKIP_WITHOUT_PILLOW_13();
  SKIP_WITHOUT_PHOTOGRAPHS();
  const Sizes sizes = {{1, 1},     {1, 300},   {300, 1},   {2, 3},     {7, 5},
                       {31, 17},   {224, 224}, {256, 341}, {341, 256}, {500, 375},
                       {499, 376}, {640, 480}, {1001, 37}, {97, 1203}};
  const auto all = files_in(kPhotographs);
  std::vector<std::string> files;
  for (std::size_t i = 0; i < all.size(); i += 12) files.push_back(all[i].string());
  for (const bool grey : {false, true}) expect_resized_as_pillow(files, sizes, grey);
}

TEST(Image, ResizesTinyImagesAsPillow) {
  SKIP_WITHOUT_PILLOW_13();
  const fs::path folder = folder_of("jpegs", "image_tiny");
  Sizes sizes;
  for (const int width : {1, 2, 3, 16, 33}) {
    for (const int height : {1, 2, 5, 16, 40}) sizes.push_back({width, height});
  }
  std::vector<std::string> files;
  for (const char* size : {"1x1", "2x3", "7x5", "17x33"}) {
    files.push_back((folder / ("noise_" + std::string(size) + "_kept_rgb.jpg")).string());
  }
  expect_resized_as_pillow(files, sizes, false);
}

/// Losing twice as many rows as columns is the last case of width first, one more row the first of
/// height first.
TEST(Image, ChangesTheOrderOfPassesWherePillowDoes) {
  SKIP_WITHOUT_PILLOW_13();
  const fs::path file = folder_of("jpegs", "image_order") / "noise_64x31_subsampling0.jpg";
  const Image wide = decode_image(file);
  Image tall{31, 64, 3, {}};
  for (int y = 0; y < 64; ++y) {
    for (int i = 0; i < 31 * 3; ++i) {
      tall.pixels.push_back(wide.pixels[static_cast<std::size_t>(i / 3 * 64 + y) * 3 + i % 3]);
    }
  }
  const fs::path raw = file.parent_path() / "tall.png";
  run_oracle({"transpose", file.string(), raw.string()});
  ASSERT_EQ(bytes_of(decode_image(raw)), bytes_of(tall));
  expect_resized_as_pillow({raw.string()},
                           {{21, 44}, {21, 43}, {21, 45}, {31, 63}, {32, 63}, {32, 64}, {33, 65}},
                           false);
}

TEST(Image, CropsAroundTheMiddle) {
  Image image{5, 4, 1, {}};
  for (int i = 0; i < 20; ++i) image.pixels.push_back(static_cast<std::uint8_t>(i + 1));
  // round((5 - 2) / 2) = round(1.5) = 2 and round((4 - 3) / 2) = round(0.5) = 0: halves go to even.
  EXPECT_THAT(centre_crop(image, 3, 2).pixels, testing::ElementsAre(3, 4, 8, 9, 13, 14));
  // Padding of an odd difference is one wider at the right and the bottom.
  const Image padded = centre_crop(image, 7, 6);
  EXPECT_EQ(padded.pixels[0], 0);
  EXPECT_EQ(padded.pixels[1 * 6 + 0], 1);
  EXPECT_EQ(padded.pixels[4 * 6 + 4], 20);
  EXPECT_EQ(padded.pixels[4 * 6 + 5], 0);
}

// A file cut anywhere, or with one byte changed, is refused or read exactly as Pillow does it.
class DamagedFiles {
 public:
  DamagedFiles(const std::string& name, const std::string& extension)
      : folder_(fresh_folder(testing::TempDir(), name)), extension_(extension) {}

  void add(const std::string& bytes) {
    char name[16];
    std::snprintf(name, sizeof name, "%05zu", count_++);
    write_bytes(folder_ / (name + extension_), bytes);
  }

  /// Pillow's refusals must be ours. `stricter` counts files that Pillow accepts and we refuse.
  void compare(std::size_t& refused, std::size_t& stricter, std::size_t& read) const {
    const auto answers = ask_oracle({"decode", "RGB", folder_.string()}, 1);
    const auto files = files_in(folder_);
    ASSERT_EQ(answers.size(), files.size());
    for (std::size_t i = 0; i < files.size(); ++i) {
      const std::string what = files[i].filename().string();
      try {
        const Image image = decode_image(files[i]);
        ++read;
        ASSERT_TRUE(answers[i].ok()) << what << " is read, Pillow says" << answers[i].error;
        expect_same(image, answers[i], what);
      } catch (const Error& error) {
        EXPECT_THAT(error.what(), StartsWith(files[i].string() + ": "));
        ++(answers[i].ok() ? stricter : refused);
        if (answers[i].ok()) notes_ += what + ": " + error.what() + "\n";
      }
    }
  }

  const std::string& notes() const { return notes_; }

 private:
  fs::path folder_;
  std::string extension_;
  std::size_t count_ = 0;
  mutable std::string notes_;
};

TEST(Image, RefusesTruncatedJpegsAsPillow) {
  SKIP_WITHOUT_PYTHON();
  const fs::path folder = folder_of("jpegs", "image_whole_jpegs");
  for (const char* name :
       {"noise_17x33_subsampling2", "noise_17x33_progressive", "noise_17x33_restart"}) {
    const std::string whole = read_bytes(folder / (std::string(name) + ".jpg"));
    DamagedFiles cut("image_cut_jpegs", ".jpg");
    for (std::size_t length = 1; length <= whole.size(); ++length) cut.add(whole.substr(0, length));
    std::size_t refused = 0, stricter = 0, read = 0;
    cut.compare(refused, stricter, read);
    EXPECT_GT(refused, 600U) << name;
    EXPECT_EQ(stricter, 0U) << name << "\n" << cut.notes();
    EXPECT_GE(read, 1U) << name;
  }
}

TEST(Image, RefusesTruncatedPngs) {
  SKIP_WITHOUT_PYTHON();
  const fs::path folder = folder_of("pngs", "image_whole_pngs");
  for (const char* name : {"hand_2_8_plain", "hand_3_4_adam7_trns", "pillow_LA"}) {
    const std::string whole = read_bytes(folder / (std::string(name) + ".png"));
    DamagedFiles cut("image_cut_pngs", ".png");
    for (std::size_t length = 1; length <= whole.size(); ++length) cut.add(whole.substr(0, length));
    std::size_t refused = 0, stricter = 0, read = 0;
    cut.compare(refused, stricter, read);
    EXPECT_GT(refused, 200U) << name;
    // Pillow does not look at the end of the last IDAT: 4 bytes of Adler-32 and 4 of CRC, and
    // zlib's end code.
    EXPECT_LE(stricter, 10U) << name << "\n" << cut.notes();
    EXPECT_GE(read, 12U) << name;  // those that lack only (a part of) IEND
  }
}

/// 400 copies of a file with one byte changed.
DamagedFiles changed_copies(const fs::path& file, std::mt19937& random) {
  const std::string whole = read_bytes(file);
  DamagedFiles changed("image_changed", file.extension().string());
  for (int i = 0; i < 400; ++i) {
    std::string bytes = whole;
    bytes[random() % bytes.size()] = static_cast<char>(random() % 256);
    changed.add(bytes);
  }
  return changed;
}

TEST(Image, SurvivesChangedBytes) {
  SKIP_WITHOUT_PYTHON();
  const fs::path jpegs = folder_of("jpegs", "image_jpegs_to_change");
  std::mt19937 random(11);
  for (const char* name :
       {"noise_17x33_subsampling2", "smooth_64x31_progressive", "noise_17x33_CMYK"}) {
    const DamagedFiles changed = changed_copies(jpegs / (std::string(name) + ".jpg"), random);
    std::size_t refused = 0, stricter = 0, read = 0;
    changed.compare(refused, stricter, read);
    EXPECT_GT(read, 100U) << name;
    EXPECT_GT(refused, 10U) << name;
    EXPECT_EQ(stricter, 0U) << name << "\n" << changed.notes();
  }
}

TEST(Image, SurvivesChangedBytesOfOtherKinds) {
  SKIP_WITHOUT_PYTHON();
  const std::pair<const char*, const char*> files[] = {{"bmps", "palette_4_40.bmp"},
                                                       {"bmps", "masks_32_9.bmp"},
                                                       {"pnms", "p3_13_100.ppm"},
                                                       {"pnms", "p5_13_1000.ppm"},
                                                       {"webps", "noise_17x33_RGB_good.webp"},
                                                       {"webps", "smooth_64x31_RGBA_exact.webp"}};
  std::mt19937 random(12);
  for (const auto& [command, name] : files) {
    const DamagedFiles changed = changed_copies(folder_of(command, "image_whole") / name, random);
    std::size_t refused = 0, stricter = 0, read = 0;
    changed.compare(refused, stricter, read);
    EXPECT_GT(refused, 10U) << name;
    EXPECT_GT(read, 20U) << name;
    EXPECT_LE(stricter, 10U) << name << "\n" << changed.notes();
  }
}

/// Pillow and releases of libtiff differ in what they forgive: here damaged tables and data are
/// refused or read, and the sanitizers have nothing to say.
TEST(Image, SurvivesChangedTiffs) {
  SKIP_WITHOUT_PYTHON();
  const fs::path folder = folder_of("tiffs", "image_tiffs_to_change");
  const fs::path changed = folder / "changed.tif";
  std::mt19937 random(13);
  for (const char* name :
       {"ii_2_3_8_strips", "mm_3_1_4_tile", "ii_2_4_8_planes", "mm_turned_7", "noise_RGB_tiff_lzw",
        "smooth_P_tiff_adobe_deflate", "noise_ycbcr_jpeg", "smooth_group4"}) {
    const std::string whole = read_bytes(folder / (std::string(name) + ".tif"));
    std::size_t refused = 0, read = 0;
    for (int i = 0; i < 400; ++i) {
      std::string bytes = whole;
      const std::size_t begin = i % 2 == 0 ? bytes.size() - std::min(bytes.size() / 2, 220UL) : 0;
      bytes[begin + random() % (bytes.size() - begin)] = static_cast<char>(random() % 256);
      write_bytes(changed, bytes);
      try {
        decode_image(changed);
        ++read;
      } catch (const Error& error) {
        EXPECT_THAT(error.what(), StartsWith(changed.string() + ": "));
        ++refused;
      }
    }
    EXPECT_GT(refused, 5U) << name;
    EXPECT_GT(read, 50U) << name;
  }
}

/// Pillow checks the sums of chunks before the pixels, and none from there on.
TEST(Image, ChecksThePngsSumsAsPillow) {
  SKIP_WITHOUT_PYTHON();
  const fs::path folder = folder_of("pngs", "image_pngs_to_break");
  const std::string whole = read_bytes(folder / "gamma_and_text.png");
  const fs::path broken = folder / "broken.png";
  const auto break_sum = [&](const char* kind) {
    std::string bytes = whole;
    const std::size_t chunk = bytes.find(kind);
    const auto length = static_cast<std::uint8_t>(bytes[chunk - 1]);
    bytes[chunk + 4 + length] ^= 1;  // the checksum behind the chunk's data
    write_bytes(broken, bytes);
    return ask_oracle({"decode", "RGB", broken.string()}, 1).at(0);
  };
  for (const char* kind : {"IHDR", "gAMA", "tEXt"}) {
    EXPECT_FALSE(break_sum(kind).ok()) << kind;
    EXPECT_THAT(error_of([&] { decode_image(broken); }),
                AllOf(StartsWith(broken.string() + ": broken PNG: "), HasSubstr("CRC")))
        << kind;
  }
  for (const char* kind : {"IDAT", "IEND"}) {
    const OracleAnswer expected = break_sum(kind);
    expect_same(decode_image(broken), expected, kind);
  }
}

TEST(Image, RefusesWhatIsNoImage) {
  const fs::path folder = fresh_folder(testing::TempDir(), "image_none");
  const auto refusal = [&](const std::string& bytes) {
    write_bytes(folder / "a.jpg", bytes);
    return error_of([&] { decode_image(folder / "a.jpg"); });
  };
  EXPECT_THAT(refusal(""), EndsWith("a.jpg: the file is empty"));
  EXPECT_THAT(refusal("hello\n"),
              EndsWith("a.jpg: is not a JPEG, PNG, BMP, PNM, TIFF or WebP image"));
  EXPECT_THAT(refusal("GIF89a..."), EndsWith(" image (it is a GIF); convert it to PNG"));
  EXPECT_THAT(refusal(std::string("\0\0\0\x1c", 4) + "ftypheic"),
              EndsWith(" image (it is a HEIF image); convert it to PNG"));
  EXPECT_THAT(refusal("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
              EndsWith(" (it is a Git LFS pointer); fetch what it stands for with 'git lfs pull'"));
  EXPECT_THAT(refusal("\xff\xd8\xff"), EndsWith("a.jpg: the JPEG is truncated"));
  EXPECT_THAT(refusal("\xff\xd8\xff\xd9"), HasSubstr("a.jpg: "));
  EXPECT_THAT(refusal("\x89PNG\r\n\x1a\n"), EndsWith("a.jpg: the PNG is truncated"));
  EXPECT_THAT(refusal("BM"), EndsWith("a.jpg: the BMP is truncated"));
  EXPECT_THAT(refusal("P6\n3 3\n255\n"), HasSubstr("a.jpg: the PNM is truncated"));
  EXPECT_THAT(refusal("P5 3 x 255\n"), EndsWith("a.jpg: broken PNM: its height is not a number"));
  EXPECT_THAT(refusal(std::string("II*\0\x08\0\0\0", 8)), HasSubstr("a.jpg: broken TIFF: "));
  EXPECT_THAT(refusal("RIFF\x04"), EndsWith(" TIFF or WebP image"));
  EXPECT_THAT(refusal(std::string("RIFF\x20\0\0\0WEBPVP8 ", 16)),
              EndsWith("a.jpg: the WebP is truncated"));
  EXPECT_THAT(error_of([&] { decode_image(folder / "missing.png"); }),
              EndsWith("missing.png: there is no such file"));
  EXPECT_THAT(error_of([&] { decode_image(folder); }), EndsWith(": is not a regular file"));
}

TEST(Image, RefusesUnreadableFiles) {
  const fs::path file = fresh_folder(testing::TempDir(), "image_unreadable") / "a.png";
  write_bytes(file, "x");
  fs::permissions(file, fs::perms::none);
  if (std::ifstream(file)) GTEST_SKIP() << "this user can read every file";
  EXPECT_THAT(error_of([&] { decode_image(file); }),
              HasSubstr("a.png: cannot be read: Permission"));
}

TEST(Image, RefusesGiantImagesBeforeDecoding) {
  SKIP_WITHOUT_PYTHON();
  const fs::path folder = folder_of("jpegs", "image_giant");
  std::string jpeg = read_bytes(folder / "noise_7x5_subsampling0.jpg");
  const std::size_t frame = jpeg.find(std::string("\xff\xc0", 2));
  ASSERT_NE(frame, std::string::npos);
  for (std::size_t i = 5; i < 9; ++i) jpeg[frame + i] = static_cast<char>(0xFA);  // 64250 x 64250
  write_bytes(folder / "giant.jpg", jpeg);
  EXPECT_THAT(error_of([&] { decode_image(folder / "giant.jpg"); }),
              EndsWith("giant.jpg: the image claims 64250 x 64250 pixels; the limit is 178956970"));
  // Within the limit, and still not within the file.
  for (std::size_t i = 5; i < 9; ++i) jpeg[frame + i] = '\x20';  // 8224 x 8224
  write_bytes(folder / "hollow.jpg", jpeg);
  EXPECT_THAT(error_of([&] { decode_image(folder / "hollow.jpg"); }),
              EndsWith("hollow.jpg: the JPEG is truncated: " + std::to_string(jpeg.size()) +
                       " bytes cannot hold 8224 x 8224 pixels"));
  write_bytes(folder / "hollow.ppm", "P6 9000 9000 255\n.");
  EXPECT_THAT(error_of([&] { decode_image(folder / "hollow.ppm"); }),
              HasSubstr("cannot hold 9000 x 9000 pixels"));
  write_bytes(folder / "hollow.png",
              std::string(  // no more than its header
                  "\211\120\116\107\015\012\032\012\000\000\000\015\111\110\104\122"
                  "\000\000\043\050\000\000\043\050\010\000\000\000\000\110\276\055"
                  "\146\000\000\000\002\111\104\101\124\170\234",
                  43));
  EXPECT_THAT(error_of([&] { decode_image(folder / "hollow.png"); }),
              HasSubstr("the PNG is truncated: 43 bytes cannot hold 9000 x 9000 pixels"));
  // 333 bytes for 891 MB of samples, by a compression that is for one bit a pixel; then by others.
  std::string fax =
      read_bytes(fs::path(BITFALL_SOURCE_DIR) / "tests/fuzz/regressions/image/wide_fax.tif");
  write_bytes(folder / "fax.tif", fax);
  EXPECT_THAT(error_of([&] { decode_image(folder / "fax.tif"); }),
              EndsWith("fax.tif: broken TIFF: its compression is for one bit a pixel"));
  const std::size_t compression = fax.find(std::string("\x03\x01\x03\x00", 4)) + 8;
  for (const int kind : {1, 5, 8, 32773}) {  // none, LZW, deflate, PackBits
    fax[compression] = static_cast<char>(kind & 255);
    fax[compression + 1] = static_cast<char>(kind >> 8);
    write_bytes(folder / "wide.tif", fax);
    EXPECT_THAT(error_of([&] { decode_image(folder / "wide.tif"); }),
                EndsWith("wide.tif: the TIFF is truncated: 333 bytes cannot hold 16515079 x 9 "
                         "pixels"))
        << kind;
  }
  const Image small{1, 1, 1, {9}};
  EXPECT_THAT(error_of([&] { resize(small, 20000, 20000, Interpolation::kBilinear); }),
              HasSubstr("the limit is"));
  EXPECT_THAT(error_of([&] { resize(small, 0, 3, Interpolation::kBicubic); }),
              HasSubstr("resized to nothing"));
  EXPECT_THAT(error_of([&] { centre_crop(small, 3, -1); }), HasSubstr("cropped to nothing"));
}

}  // namespace
}  // namespace bitfall::image_test
