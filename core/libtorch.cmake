# bitfall_libtorch: LibTorch as it lies in torch's Python wheel (or in an unpacked libtorch archive, which has the same
# folders), found by these folders alone. TorchConfig.cmake is left aside: that of a CUDA or ROCm wheel asks for the
# whole toolkit, of which nothing here is compiled against.
#
# -DBITFALL_LIBTORCH=FOLDER names the folder that holds include/ and lib/; else it is that of .venv's torch, else of python3's.
# Sets BITFALL_LIBTORCH_VERSION and BITFALL_LIBTORCH_LIB, the folder of its libraries.

set(BITFALL_LIBTORCH "" CACHE PATH "Folder of LibTorch: it holds include/ and lib/, as site-packages/torch does")
set(libtorch_found "${BITFALL_LIBTORCH}")
if(NOT libtorch_found)
  # Asked anew at every configuration, since .venv may have got another torch; importing it would take seconds.
  foreach(python ${PROJECT_SOURCE_DIR}/.venv/bin/python python3)
    execute_process(COMMAND ${python} -c
      "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0], end='')"
      OUTPUT_VARIABLE libtorch_found ERROR_QUIET RESULT_VARIABLE status)
    if(status EQUAL 0)
      break()
    endif()
    set(libtorch_found "")
  endforeach()
endif()
if(NOT libtorch_found)
  message(FATAL_ERROR "LibTorch was not found: neither .venv nor python3 has the package torch. "
    "Run scripts/setup.sh, or pass -DBITFALL_LIBTORCH=FOLDER (site-packages/torch, or an unpacked libtorch).")
endif()
get_filename_component(libtorch_found "${libtorch_found}" ABSOLUTE BASE_DIR ${CMAKE_BINARY_DIR})

set(libtorch_include ${libtorch_found}/include ${libtorch_found}/include/torch/csrc/api/include)
find_file(libtorch_version_header torch/headeronly/version.h PATHS ${libtorch_found}/include NO_DEFAULT_PATH NO_CACHE)
foreach(name torch torch_cpu c10)
  find_library(libtorch_${name} ${name} PATHS ${libtorch_found}/lib NO_DEFAULT_PATH NO_CACHE)
  if(NOT libtorch_${name} OR NOT libtorch_version_header)
    message(FATAL_ERROR "${libtorch_found} is not a LibTorch: it needs lib/lib${name}.so and "
      "include/torch/headeronly/version.h. Pass -DBITFALL_LIBTORCH=FOLDER (site-packages/torch, or an unpacked libtorch).")
  endif()
endforeach()
file(STRINGS ${libtorch_version_header} libtorch_lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH)")
string(REGEX REPLACE "[^0-9;]" "" libtorch_numbers "${libtorch_lines}")
string(REPLACE ";" "." BITFALL_LIBTORCH_VERSION "${libtorch_numbers}")
if(BITFALL_LIBTORCH_VERSION VERSION_LESS 2.11)
  message(FATAL_ERROR "LibTorch ${BITFALL_LIBTORCH_VERSION} found in ${libtorch_found}; Bitfall needs 2.11 or later. "
    "Run scripts/setup.sh, or pass -DBITFALL_LIBTORCH=FOLDER.")
endif()
set(libtorch_kind CPU)
foreach(device cuda hip xpu)
  if(EXISTS ${libtorch_found}/lib/libtorch_${device}.so)
    string(TOUPPER ${device} libtorch_kind)
  endif()
endforeach()
message(STATUS "LibTorch ${BITFALL_LIBTORCH_VERSION} (${libtorch_kind}) in ${libtorch_found}")

add_library(bitfall_libtorch INTERFACE)
# SYSTEM: LibTorch's headers are not ours to warn about.
target_include_directories(bitfall_libtorch SYSTEM INTERFACE ${libtorch_include})
target_compile_options(bitfall_libtorch INTERFACE -Wno-pedantic)
# Headers bring the operators that a file names (ATen/ops/...); reading all of them takes 7 seconds.
target_compile_definitions(bitfall_libtorch INTERFACE AT_PER_OPERATOR_HEADERS)
# libtorch.so is empty and needs what its wheel has: libtorch_cpu.so, and libtorch_cuda.so or libtorch_hip.so in the
# wheels of those. So a program that needs it runs with every wheel of one version. What those need in turn lies in
# other packages, which they find themselves when they are loaded: the linker need not.
set(CMAKE_LINK_LIBRARY_USING_always_needed_SUPPORTED TRUE)
set(CMAKE_LINK_LIBRARY_USING_always_needed
  "LINKER:--push-state,--no-as-needed" "<LINK_ITEM>" "LINKER:--pop-state")
target_link_libraries(bitfall_libtorch INTERFACE
  $<LINK_LIBRARY:always_needed,${libtorch_torch}> ${libtorch_torch_cpu} ${libtorch_c10})
target_link_options(bitfall_libtorch INTERFACE -Wl,--allow-shlib-undefined)
set(BITFALL_LIBTORCH_LIB ${libtorch_found}/lib)
