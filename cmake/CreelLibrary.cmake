# creel_library(NAME SOURCES... DEPS...): the static library of one folder.
# Headers are included by their path from the top: "lib/err.h".
find_package(Threads REQUIRED)

function(creel_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_compile_options(${name} PRIVATE ${CREEL_WARNINGS})
  target_link_libraries(${name} PUBLIC ${ARG_DEPS} Threads::Threads)
endfunction()
