# What `cmake --install` puts where.
include(GNUInstallDirs)
if(TARGET creel)
  install(TARGETS creel RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
