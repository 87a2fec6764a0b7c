# bitfall_sources_hash(RESULT source...): of these files and the headers beside them; empty where one is generated.
function(bitfall_sources_hash result)
  set(files "")
  foreach(source ${ARGN})
    get_filename_component(path "${source}" ABSOLUTE)
    get_filename_component(folder "${path}" DIRECTORY)
    file(GLOB headers CONFIGURE_DEPENDS "${folder}/*.h" "${folder}/*.hh" "${folder}/*.hpp")
    list(APPEND files "${path}" ${headers})
  endforeach()
  list(REMOVE_DUPLICATES files)
  list(SORT files)
  set(sums "")
  foreach(file ${files})
    if(NOT EXISTS "${file}")
      set(${result} "" PARENT_SCOPE)
      return()
    endif()
    file(SHA256 "${file}" sum)
    get_filename_component(base "${file}" NAME)
    string(APPEND sums "${base} ${sum}\n")
  endforeach()
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${files})
  string(SHA256 hash "${sums}")
  set(${result} "${hash}" PARENT_SCOPE)
endfunction()

# bitfall_add_plugin(NAME source...): a plugin as the shared library NAME.so, which sees the SDK alone.
#
# Installed to lib/bitfall/plugins, where a program of the same prefix finds it. With BUILD_TESTING (include(CTest)) the
# test NAME.check runs `bitfall plugin check` over it.
#
# The plugin tells a hash of its sources and of the headers beside them, so that machines that compile these files each
# for themselves can share a campaign; a plugin of files that are generated tells none.
function(bitfall_add_plugin name)
  add_library(${name} MODULE ${ARGN})
  target_link_libraries(${name} PRIVATE Bitfall::sdk)
  set_target_properties(${name} PROPERTIES PREFIX "" CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON
    CXX_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
  target_compile_options(${name} PRIVATE $<$<CONFIG:>:-O2>  # no build type, no optimisation
    -ffile-prefix-map=${CMAKE_CURRENT_SOURCE_DIR}=.)        # the same bytes wherever it is built
  if(NOT BITFALL_SANITIZE)  # whose own functions clang takes from the program
    target_link_options(${name} PRIVATE -Wl,-z,defs         # what is missing is an error here, not where it is loaded
      -Wl,--exclude-libs,ALL -Wl,-Bsymbolic)                # its own functions are those that it calls
  endif()
  bitfall_sources_hash(hash ${ARGN})
  if(hash)
    target_compile_definitions(${name} PRIVATE BITFALL_SOURCES="${hash}")
  endif()
  install(TARGETS ${name} LIBRARY DESTINATION lib/bitfall/plugins)
  if(BUILD_TESTING AND BITFALL_PROGRAM)
    add_test(NAME ${name}.check COMMAND ${BITFALL_PROGRAM} plugin check $<TARGET_FILE:${name}>)
  endif()
endfunction()
