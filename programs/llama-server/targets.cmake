# Included by CMake after llama.cpp's project() line (CMAKE_PROJECT_INCLUDE): joins upstream's many small files, each of
# which reads the same heavy headers, into a few. Build time only; upstream's files stay as they are.
function(betelgeuse_join_sources)
  # Must stay alone: specialises templates that other files already use; may not see the library's own headers.
  set_source_files_properties(
    "${CMAKE_SOURCE_DIR}/common/json.cpp" TARGET_DIRECTORY llama-common PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  foreach(name IN ITEMS mtmd-helper mtmd-helper-gen)
    set_source_files_properties(
      "${CMAKE_SOURCE_DIR}/tools/mtmd/${name}.cpp" TARGET_DIRECTORY mtmd PROPERTIES SKIP_UNITY_BUILD_INCLUSION ON)
  endforeach()
  set_target_properties(llama-common mtmd PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 12)
endfunction()

# ggml's project() includes this file too; targets exist when the top folder's list ends.
if(CMAKE_CURRENT_SOURCE_DIR STREQUAL CMAKE_SOURCE_DIR)
  cmake_language(DEFER CALL betelgeuse_join_sources)
endif()
