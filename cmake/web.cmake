# SPDX-License-Identifier: MIT
# The demo page: the assembler copies the files of web/ into server/page.c, as it does the built-in model.

file(GLOB web_files CONFIGURE_DEPENDS web/*)
set_source_files_properties(server/page.c PROPERTIES
    COMPILE_DEFINITIONS "SRV_WEB_FOLDER=\"${PROJECT_SOURCE_DIR}/web\""
    OBJECT_DEPENDS "${web_files}")
