// Text embeddings of classes: rows of a table, one or several a class, as directions of length 1.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "tensor_file.h"

namespace bitfall {

/// What a user names to say where the embeddings of his classes are.
struct EmbeddingFiles {
  std::filesystem::path table;  // .npy, .npz, .safetensors, .pth or .pt
  /// The names of the table's rows in their order, as class_list.h reads them. Empty: those of the
  /// file, where it names them; else the rows are the task's classes in order.
  std::filesystem::path classes;
  /// JSON {task class: row name, row index from 0, or an array of these}. Empty: by name.
  std::filesystem::path map;
  std::string key;  // which tensor of a file with several; empty = the only one with two dimensions
};

/// The rows of the table that stand for one class.
struct ClassRows {
  std::vector<std::int64_t> rows;  // at least one
  bool loose = false;              // a name was matched without case, '_', '-' and blanks
};

/// Which rows of `table` stand for each of `classes`, in their order. Names match exactly, else
/// without regard to case, '_', '-' and blanks where only one name does. A name that several rows
/// have stands for them in order if `classes` has it as often, for the first if they are equal, and
/// is refused otherwise.
/// Throws Error(kInput): classes without rows (all named), a list or map that does not fit the
/// table. Warns of classes that share a row, and of names that matched only loosely.
std::vector<ClassRows> match_rows(const EmbeddingFiles& files, const EmbeddingTable& table,
                                  std::span<const std::string> classes);

/// [classes, width], each row of length 1: a class's row divided by its length; of several rows,
/// each is divided by its length, and so is their mean. `lengths`, if given, gets the length that
/// each class's row, or mean, had before. Throws Error(kInput) naming class and row where a value
/// is not finite or a row is zero.
EmbeddingTable unit_rows(const EmbeddingFiles& files, const EmbeddingTable& table,
                         std::span<const std::string> classes, std::span<const ClassRows> matched,
                         std::vector<double>* lengths = nullptr);

/// One row for each of `classes`, in their order: the table's own, or of several the direction of
/// their mean as unit_rows() gives it. Throws and warns as read_table, match_rows and unit_rows do.
EmbeddingTable class_embeddings(const EmbeddingFiles& files, std::span<const std::string> classes);

}  // namespace bitfall
