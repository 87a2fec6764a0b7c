// A list of images and their labels beside a folder of images: [data] list.
#pragma once

#include <filesystem>

#include "class_folders.h"

namespace bitfall {

/// Images of the folder `root` that the file `list` names, class by class in the list's order.
/// Forms of a list:
/// * text, an image per line, with a label behind a tab or the last blank ("val_1.JPEG 65");
/// * text, an image per line that begins with its class's folder ("churros/1004234");
/// * text, a label per line, for the images of `root` itself in the order of their names;
/// * text with commas (named .csv, or by its first line): image,label, with or without a header;
/// * JSON (named .json): an array of such images, of [image, label] or [image, label, ...], or an
///   object {class: [images]}.
/// Images may lack their extension. A label is a number from 0, a name, or an id of `class_list`;
/// without that file classes are numbered, or those of the folders or labels in byte-wise order.
/// Throws Error(kInput): "LIST:LINE: what is wrong": no such image (with `skip` it is left out), an
/// image that is named twice, no such class.
ImageListing read_file_list(const std::filesystem::path& root, const std::filesystem::path& list,
                            const std::filesystem::path& class_list, bool skip);

}  // namespace bitfall
