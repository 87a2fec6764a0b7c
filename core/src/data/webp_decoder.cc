#include "webp_decoder.h"

#include <webp/demux.h>

#include <memory>
#include <new>

#include "bad_input.h"

namespace bitfall {
namespace {

struct Delete {
  void operator()(WebPAnimDecoder* decoder) const { WebPAnimDecoderDelete(decoder); }
};

/// Before the decoder takes memory for the whole canvas.
void check_canvas(const WebPData& data) {
  WebPDemuxState state = WEBP_DEMUX_PARSE_ERROR;
  WebPDemuxer* const demuxer = WebPDemuxPartial(&data, &state);
  const std::uint32_t width = demuxer ? WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_WIDTH) : 0;
  const std::uint32_t height = demuxer ? WebPDemuxGetI(demuxer, WEBP_FF_CANVAS_HEIGHT) : 0;
  WebPDemuxDelete(demuxer);
  if (state == WEBP_DEMUX_PARSE_ERROR) fail("broken WebP");
  if (state != WEBP_DEMUX_DONE) fail("the WebP is truncated");
  check_image_size(width, height);
}

}  // namespace

// The decoder of animations, which Pillow uses for all.
Image decode_webp(std::span<const std::uint8_t> file, int channels) {
  const WebPData data{file.data(), file.size()};
  check_canvas(data);
  WebPAnimDecoderOptions options;
  if (!WebPAnimDecoderOptionsInit(&options)) throw std::bad_alloc();
  options.color_mode = MODE_RGBA;
  const std::unique_ptr<WebPAnimDecoder, Delete> decoder(WebPAnimDecoderNew(&data, &options));
  WebPAnimInfo info;
  std::uint8_t* rgba = nullptr;
  int time = 0;
  if (!decoder || !WebPAnimDecoderGetInfo(decoder.get(), &info) ||
      !WebPAnimDecoderGetNext(decoder.get(), &rgba, &time)) {
    fail("broken WebP");
  }
  Image image = blank_image(info.canvas_width, info.canvas_height, channels);
  std::uint8_t* out = image.pixels.data();
  for (; out != image.pixels.data() + image.pixels.size(); out += channels, rgba += 4) {
    store_pixel(rgba, channels, out);
  }
  return image;
}

}  // namespace bitfall
