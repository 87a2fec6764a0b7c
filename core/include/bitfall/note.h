// A plugin's note: what it is and what it offers, in a section of its file that is read without
// running any of its code. BITFALL_PLUGIN writes it; nobody else needs this header.
//
//   abi 4
//   name group-formats
//   format nf4 Normal floats in 4 bits
//
// A line a fact, a line a component (kind, id without the group, summary), their number at the end.
// Where the compiler does not know them, their number is missing; where it does not know the
// plugin's name either, that as well.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "bitfall/component.h"

namespace bitfall::detail {

/// An ELF note; readelf -p .note.bitfall shows it.
template <std::size_t kText>
struct Note {
  std::uint32_t name_size = 8;
  std::uint32_t text_size = kText;
  std::uint32_t type = 1;
  char name[8] = {'B', 'i', 't', 'f', 'a', 'l', 'l', '\0'};
  char text[(kText + 3) / 4 * 4] = {};
};

/// Counts characters, and writes them where it has a place to.
class NoteText {
 public:
  constexpr explicit NoteText(char* out = nullptr) : out_(out) {}

  /// `key text`, on a line of its own; nothing where there is no text.
  constexpr void line(const char* key, const char* text) {
    if (text == nullptr || *text == '\0') return;
    put(key);
    put(' ');
    put(text);
    put('\n');
  }
  constexpr void line(const char* key, std::uint64_t number, unsigned base = 10) {
    char digits[24] = {};
    std::size_t at = sizeof digits - 1;
    do {
      digits[--at] = "0123456789abcdef"[number % base];
      number /= base;
    } while (number > 0);
    line(key, digits + at);
  }
  constexpr void line(const char* kind, const char* id, const char* summary) {
    put(kind);
    put(' ');
    put(id == nullptr || *id == '\0' ? "?" : id);
    put(' ');
    put(summary == nullptr ? "" : summary);
    put('\n');
  }
  constexpr std::size_t size() const { return size_; }

 private:
  constexpr void put(char c) {
    if (out_ != nullptr) out_[size_] = c;
    ++size_;
  }
  constexpr void put(const char* text) {
    for (; *text != '\0'; ++text) put(*text > 0 && *text < ' ' ? ' ' : *text);
  }

  char* out_;
  std::size_t size_ = 0;
};

class NoteRegistrar final : public Registrar {
 public:
  constexpr explicit NoteRegistrar(NoteText& text) : text_(text) {}
  constexpr void add_format(const Component<NumberFormat>& component) override {
    text_.line("format", component.id, component.summary);
    ++count_;
  }
  constexpr void add_error_model(const Component<ErrorModel>& component) override {
    text_.line("error_model", component.id, component.summary);
    ++count_;
  }
  constexpr void add_metric(const Component<Metric>& component) override {
    text_.line("metric", component.id, component.summary);
    ++count_;
  }
  constexpr void add_head_init(const Component<HeadInit>& component) override {
    text_.line("head_init", component.id, component.summary);
    ++count_;
  }
  constexpr void add_protection(const Component<Protection>& component) override {
    text_.line("protection", component.id, component.summary);
    ++count_;
  }
  constexpr std::uint64_t count() const { return count_; }

 private:
  NoteText& text_;
  std::uint64_t count_ = 0;
};

/// What the note begins with, whatever the components are.
struct NoteFacts {
  std::uint32_t abi;
  std::uint64_t headers;
  const char* compiler;
  const char* library;
  const char* sources;
};

constexpr void write_facts(NoteText& text, const NoteFacts& facts) {
  text.line("abi", facts.abi);
  text.line("headers", facts.headers, 16);
  text.line("compiler", facts.compiler);
  text.line("library", facts.library);
  text.line("sources", facts.sources);
}

template <typename T>
constexpr void register_one(Registrar& registrar, const T& component) {
  if constexpr (std::is_invocable_v<const T&, Registrar&>) {
    component(registrar);  // a function that adds some itself
  } else {
    registrar.add(component);
  }
}

constexpr void write_about(NoteText& text, const NoteFacts& facts, const About& about) {
  write_facts(text, facts);
  text.line("name", about.name);
  text.line("version", about.version);
  text.line("summary", about.summary);
  text.line("group", about.group);
  text.line("licence", about.licence);
  text.line("url", about.url);
  text.line("cite", about.cite);
}

template <typename... Components>
constexpr void write_note(NoteText& text, const NoteFacts& facts, const About& about,
                          const Components&... components) {
  write_about(text, facts, about);
  NoteRegistrar registrar(text);
  (register_one(registrar, components), ...);
  text.line("components", registrar.count());
}

/// Only where About and the components are constants, and functions that add them constexpr.
template <typename... Components>
constexpr std::size_t note_size(const NoteFacts& facts, const About& about,
                                const Components&... components) {
  NoteText text;
  write_note(text, facts, about, components...);
  return text.size();
}
/// Only where About is a constant.
constexpr std::size_t about_size(const NoteFacts& facts, const About& about) {
  NoteText text;
  write_about(text, facts, about);
  return text.size();
}
constexpr std::size_t facts_size(const NoteFacts& facts) {
  NoteText text;
  write_facts(text, facts);
  return text.size();
}

template <std::size_t kText, typename... Components>
constexpr Note<kText> make_note(const NoteFacts& facts, const About& about,
                                const Components&... components) {
  Note<kText> note;
  NoteText text(note.text);
  write_note(text, facts, about, components...);
  return note;
}
template <std::size_t kText>
constexpr Note<kText> make_about_note(const NoteFacts& facts, const About& about) {
  Note<kText> note;
  NoteText text(note.text);
  write_about(text, facts, about);
  return note;
}
template <std::size_t kText>
constexpr Note<kText> make_facts_note(const NoteFacts& facts) {
  Note<kText> note;
  NoteText text(note.text);
  write_facts(text, facts);
  return note;
}

}  // namespace bitfall::detail
