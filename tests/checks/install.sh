#!/bin/sh
# SPDX-License-Identifier: MIT
# Usage: install.sh C-COMPILER BUILD-FOLDER
# Installs under a DESTDIR, then builds programs against what was installed, as a host project would: by
# pkg-config, with the shared and with the static library; both run in an empty folder.
set -eu

cc=$1
build=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
dest="$scratch/dest dir"

# cmake keeps a list for uninstalling; that of the last `make install` has to stay.
manifest=$build/install_manifest.txt
[ ! -f "$manifest" ] || cp "$manifest" "$scratch/kept"
DESTDIR="$dest" cmake --install "$build" --prefix /usr >"$scratch/log" || { cat "$scratch/log"; exit 1; }
mv "$manifest" "$scratch/manifest"
[ ! -f "$scratch/kept" ] || cp "$scratch/kept" "$manifest"
cp -a "$dest" "$scratch/removed"
DESTDIR="$scratch/removed" "${INKLING_SOURCE_DIR:-.}/tools/uninstall.sh" "$scratch/manifest"
if find "$scratch/removed" ! -type d -o -name inkling | grep .; then
    echo 'these were installed and stay behind make uninstall'
    exit 1
fi
file=$(find "$dest" -name inkling.pc)
lib=${file%/pkgconfig/inkling.pc}
for name in "$dest/usr/include/inkling/inkling.h" "$lib/libinkling.so" "$lib/libinkling.so.0" "$lib/libinkling.a" \
    "$dest/usr/bin/inkling" "$dest/usr/include/inkling/train.h" "$lib/libinkling-train.a"; do
    if [ ! -e "$name" ]; then
        echo "not installed: ${name#"$dest"}"
        exit 1
    fi
done
grep -qx 'prefix=/usr' "$file"
if grep -rlI "$build" "$dest" | grep .; then
    echo 'these installed files name the build folder'
    exit 1
fi
readelf -d "$lib/libinkling.so" | grep -q 'SONAME.*\[libinkling\.so\.0\]'
if readelf -d "$lib/libinkling.so" "$dest/usr/bin/inkling" | grep -E 'RPATH|RUNPATH'; then
    echo 'installed files look for libraries in a folder of their own'
    exit 1
fi

# pkg-config splits at blanks, so the folder without one stands for the system's root.
mv "$dest" "$scratch/sysroot"
lib="$scratch/sysroot${lib#"$dest"}"
export PKG_CONFIG_SYSROOT_DIR="$scratch/sysroot" PKG_CONFIG_PATH="$lib/pkgconfig"
cat >"$scratch/host.c" <<'END'
#include <inkling/inkling.h>
#include <stdio.h>
#include <string.h>
static int count(void *user, const ink_piece *piece) {
    *(size_t *)user += piece->bytes;
    return 0;
}
int main(int argc, char **argv) {
    (void)argv;
    size_t bytes = 0;
    ink_engine *ai = ink_open(NULL, NULL);
    const ink_status status = ink_generate(ai, "Once upon a time", count, &bytes);
    ink_close(ai);
    printf("%s %zu\n", ink_version(), bytes);
    return argc > 1 ? 0 : status != INK_OK || bytes == 0;
}
END
# shellcheck disable=SC2046 # pkg-config gives a list of words
{
    "$cc" -std=c11 -Wall -Werror -o "$scratch/shared" "$scratch/host.c" $(pkg-config --cflags --libs inkling)
    "$cc" -std=c11 -Wall -Werror -static -o "$scratch/static" "$scratch/host.c" \
        $(pkg-config --static --cflags --libs inkling)
}
[ "$(pkg-config --modversion inkling)" = "$("$scratch/static" version | cut -d' ' -f1)" ]

left_out=
if [ ! -f "${INKLING_STORY-${INKLING_SOURCE_DIR:-.}/models/story.gguf}" ]; then
    left_out='version only'
    echo 'left out: generating, there is no built-in model'
fi
# The lines at the head of train.h, with what they name: they learn, and what was learnt is opened.
{
    cat <<'END'
#include <inkling/train.h>
#include <stdio.h>
#include <string.h>
int main(void) {
    ink_model *model = NULL;
    ink_adapter *adapter = NULL;
    ink_adapt_report report = {sizeof report};
    static char text[4000];
    while (strlen(text) + 40 < sizeof text) strcat(text, "The kettle sang, and Mia sang with it.\n");
    const size_t bytes = strlen(text);
    if (ink_model_open(&model, NULL, NULL, NULL, NULL) != INK_OK) return 1;
END
    sed -n 's|^//     \(ink_adapt[ _].*;.*\)$|    \1|p' "${INKLING_SOURCE_DIR:-.}/include/inkling/train.h" |
        sed 's|^\( *\)ink_adapt_save|\1do ink_adapt_run(a, 0, \&report, NULL);\n\1while (report.n_steps < 3);\n&|'
    cat <<'END'
    const ink_source source = {.size = sizeof source, .kind = INK_SOURCE_PATH, .name = "notes.gguf"};
    const ink_status status = ink_adapter_open(&adapter, model, &source, NULL);
    ink_adapter_unref(adapter);
    ink_model_unref(model);
    printf("learnt for %u steps\n", (unsigned)report.n_steps);
    return status != INK_OK || !(report.loss > 0);
}
END
} >"$scratch/learner.c"
[ "$(grep -c ink_adapt_ "$scratch/learner.c")" -ge 8 ]
for how in '' --static; do
    # shellcheck disable=SC2046,SC2086 # lists of words
    "$cc" -std=c11 -Wall -Werror -o "$scratch/learner$how" "$scratch/learner.c" \
        $(pkg-config $how --cflags --libs inkling-train)
done

mkdir "$scratch/empty"
cd "$scratch/empty"
if [ -z "$left_out" ]; then
    mkdir ../learnt
    (cd ../learnt && ../learner && ../learner--static && [ -f notes.adapt ] && [ -f notes.gguf ])
fi
# shellcheck disable=SC2086 # nothing or two words
{
    LD_LIBRARY_PATH="$lib" ../shared $left_out
    ../static $left_out
}
../sysroot/usr/bin/inkling --version
[ -z "$(ls -A .)" ]
echo 'installed, linked both ways and run in an empty folder'
