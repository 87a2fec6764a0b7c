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

namespace bitfall {
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

TEST(Image, LooksAtContentAndNotAtTheName) {
  SKIP_WITHOUT_PYTHON();
  const fs::path folder = folder_of("pngs", "image_renamed");
  const fs::path png = folder / "hand_2_8_plain.png";
  const std::string before = bytes_of(decode_image(png));
  fs::rename(png, folder / "a.jpg");
  EXPECT_EQ(bytes_of(decode_image(folder / "a.jpg")), before);
}

/// The order of the passes changed with Pillow 13, see resize_bilinear.
int pillow_major() { return std::stoi(run_oracle({"version", "PIL"})); }

#define SKIP_WITHOUT_PILLOW_13() \
  SKIP_WITHOUT_PYTHON();         \
  if (pillow_major() < 13) GTEST_SKIP() << "the oracle of resizing is Pillow 13 or later"

TEST(Image, ResizesAsPillow) {
  SKIP_WITHOUT_PILLOW_13();
  SKIP_WITHOUT_PHOTOGRAPHS();
  const std::vector<std::array<int, 2>> sizes = {
      {1, 1},     {1, 300},   {300, 1},   {2, 3},     {7, 5},     {31, 17},   {224, 224},
      {256, 341}, {341, 256}, {500, 375}, {499, 376}, {640, 480}, {1001, 37}, {97, 1203}};
  std::string sizes_text;
  for (const auto& [width, height] : sizes) {
    sizes_text +=
        (sizes_text.empty() ? "" : ",") + std::to_string(width) + "x" + std::to_string(height);
  }
  const auto all = files_in(kPhotographs);
  for (const bool grey : {false, true}) {
    std::vector<std::string> arguments = {"resize", grey ? "L" : "RGB", sizes_text};
    for (std::size_t i = 0; i < all.size(); i += 6) arguments.push_back(all[i].string());
    const auto answers = ask_oracle(arguments, 1);
    ASSERT_EQ(answers.size(), sizes.size() * (arguments.size() - 3));
    for (std::size_t i = 0; i < answers.size(); ++i) {
      const std::string& file = arguments[3 + i / sizes.size()];
      const auto& [width, height] = sizes[i % sizes.size()];
      expect_same(resize_bilinear(decode_image(file, grey), width, height), answers[i],
                  file + " to " + std::to_string(width) + " x " + std::to_string(height));
    }
  }
}

TEST(Image, ResizesTinyImagesAsPillow) {
  SKIP_WITHOUT_PILLOW_13();
  const fs::path folder = folder_of("jpegs", "image_tiny");
  std::string sizes;
  std::vector<std::array<int, 2>> list;
  for (const int width : {1, 2, 3, 16, 33}) {
    for (const int height : {1, 2, 5, 16, 40}) {
      list.push_back({width, height});
      sizes += (sizes.empty() ? "" : ",") + std::to_string(width) + "x" + std::to_string(height);
    }
  }
  std::vector<std::string> arguments = {"resize", "RGB", sizes};
  for (const char* size : {"1x1", "2x3", "7x5", "17x33"}) {
    arguments.push_back((folder / ("noise_" + std::string(size) + "_kept_rgb.jpg")).string());
  }
  const auto answers = ask_oracle(arguments, 1);
  ASSERT_EQ(answers.size(), list.size() * 4);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const auto& [width, height] = list[i % list.size()];
    expect_same(resize_bilinear(decode_image(arguments[3 + i / list.size()]), width, height),
                answers[i],
                arguments[3 + i / list.size()] + " to " + std::to_string(width) + " x " +
                    std::to_string(height));
  }
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
  for (const auto& [width, height] :
       {std::pair{21, 44}, {21, 43}, {21, 45}, {31, 63}, {32, 63}, {32, 64}, {33, 65}}) {
    const auto answers = ask_oracle(
        {"resize", "RGB", std::to_string(width) + "x" + std::to_string(height), raw.string()}, 1);
    expect_same(resize_bilinear(tall, width, height), answers.at(0),
                std::to_string(width) + " x " + std::to_string(height));
  }
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

TEST(Image, SurvivesChangedBytes) {
  SKIP_WITHOUT_PYTHON();
  const fs::path jpegs = folder_of("jpegs", "image_jpegs_to_change");
  std::mt19937 random(11);
  for (const char* name :
       {"noise_17x33_subsampling2", "smooth_64x31_progressive", "noise_17x33_CMYK"}) {
    const std::string whole = read_bytes(jpegs / (std::string(name) + ".jpg"));
    DamagedFiles changed("image_changed_jpegs", ".jpg");
    for (int i = 0; i < 400; ++i) {
      std::string bytes = whole;
      bytes[random() % bytes.size()] = static_cast<char>(random() % 256);
      changed.add(bytes);
    }
    std::size_t refused = 0, stricter = 0, read = 0;
    changed.compare(refused, stricter, read);
    EXPECT_GT(read, 100U) << name;
    EXPECT_GT(refused, 10U) << name;
    EXPECT_EQ(stricter, 0U) << name << "\n" << changed.notes();
  }
}

TEST(Image, ChecksThePngsSums) {
  SKIP_WITHOUT_PYTHON();
  const fs::path folder = folder_of("pngs", "image_pngs_to_break");
  const std::string whole = read_bytes(folder / "gamma_and_text.png");
  const fs::path broken = folder / "broken.png";
  for (const char* kind : {"IHDR", "gAMA", "tEXt", "IDAT"}) {
    std::string bytes = whole;
    const std::size_t chunk = bytes.find(kind);
    const auto length = static_cast<std::uint8_t>(bytes[chunk - 1]);
    bytes[chunk + 4 + length] ^= 1;  // the checksum behind the chunk's data
    write_bytes(broken, bytes);
    EXPECT_THAT(error_of([&] { decode_image(broken); }),
                AllOf(StartsWith(broken.string() + ": broken PNG: "), HasSubstr("CRC")))
        << kind;
  }
}

TEST(Image, RefusesWhatIsNoImage) {
  const fs::path folder = fresh_folder(testing::TempDir(), "image_none");
  const auto refusal = [&](const std::string& bytes) {
    write_bytes(folder / "a.jpg", bytes);
    return error_of([&] { decode_image(folder / "a.jpg"); });
  };
  EXPECT_THAT(refusal(""), EndsWith("a.jpg: the file is empty"));
  EXPECT_THAT(refusal("hello\n"), EndsWith("a.jpg: is neither a JPEG nor a PNG image"));
  EXPECT_THAT(refusal("GIF89a..."),
              EndsWith("a.jpg: is neither a JPEG nor a PNG image (it is a GIF)"));
  EXPECT_THAT(refusal("\xff\xd8\xff"), EndsWith("a.jpg: the JPEG is truncated"));
  EXPECT_THAT(refusal("\xff\xd8\xff\xd9"), HasSubstr("a.jpg: "));
  EXPECT_THAT(refusal("\x89PNG\r\n\x1a\n"), EndsWith("a.jpg: the PNG is truncated"));
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
  const Image small{1, 1, 1, {9}};
  EXPECT_THAT(error_of([&] { resize_bilinear(small, 20000, 20000); }), HasSubstr("the limit is"));
  EXPECT_THAT(error_of([&] { resize_bilinear(small, 0, 3); }), HasSubstr("resized to nothing"));
  EXPECT_THAT(error_of([&] { centre_crop(small, 3, -1); }), HasSubstr("cropped to nothing"));
}

}  // namespace
}  // namespace bitfall
