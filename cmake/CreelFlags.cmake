# Compiler flags: the warnings of docs/CONTRIBUTING.md, hardening, sanitizers.
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_EXTENSIONS ON)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# For our own code; third-party sources are compiled without these.
set(CREEL_WARNINGS
    -Wall -Wextra -Wshadow -Wconversion -Wcast-qual -Wstrict-prototypes
    -Wmissing-prototypes -Wformat=2 -Wvla -Wundef)
if(CREEL_WERROR)
  list(APPEND CREEL_WARNINGS -Werror)
  if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    # Wrong about outputs that are written on success only (docs/CONTRIBUTING),
    # and about snprintf() where a cut text is what is wanted.
    list(APPEND CREEL_WARNINGS -Wno-error=maybe-uninitialized
         -Wno-error=format-truncation)
  endif()
endif()

add_compile_definitions(_GNU_SOURCE _FILE_OFFSET_BITS=64)
add_compile_options(-fno-strict-aliasing -fno-common)

if(CREEL_SANITIZE)
  add_compile_options(-fsanitize=${CREEL_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all -g)
  add_link_options(-fsanitize=${CREEL_SANITIZE})
else()
  add_compile_options(-fstack-protector-strong -fstack-clash-protection)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    add_compile_options(-fcf-protection)
  endif()
  if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug" AND NOT CREEL_COVERAGE)
    add_compile_options(-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
  endif()
  add_link_options(-Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack)
  include(CheckPIESupported)
  check_pie_supported(LANGUAGES C)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Debug")
  add_compile_definitions(CREEL_DEBUG_LOCKS=1)
endif()
if(CREEL_COVERAGE)
  add_compile_options(--coverage -O0 -g)
  add_link_options(--coverage)
endif()
if(CREEL_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
