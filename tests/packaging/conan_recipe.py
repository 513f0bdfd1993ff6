"""Runs the Conan recipe with a few lines that stand for Conan, and looks at what it packages.

    conan_recipe.py <source directory> <version> <description>
"""
import fnmatch
import importlib.util
import os
import shutil
import sys
import tempfile
import types


def copy(_, pattern, source, destination):
    for folder, _, files in os.walk(source):
        for name in fnmatch.filter(files, pattern):
            to = os.path.join(destination, os.path.relpath(folder, source), name)
            os.makedirs(os.path.dirname(to), exist_ok=True)
            shutil.copy(os.path.join(folder, name), to)
        if "*" not in pattern:
            break


def load(_, path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def stand_in(name, **members):
    module = types.ModuleType(name)
    vars(module).update(members)
    sys.modules[name] = module


class Info:
    def __init__(self):
        self.properties = {}
        self.set_property = self.properties.__setitem__


def files_below(folder):
    return sorted(
        os.path.relpath(os.path.join(path, name), folder)
        for path, _, names in os.walk(folder)
        for name in names
    )


def main(source, version, description):
    standards = []
    stand_in("conan", ConanFile=object)
    stand_in("conan.tools")
    stand_in("conan.tools.build", check_min_cppstd=lambda _, least: standards.append(least))
    stand_in("conan.tools.files", copy=copy, load=load)
    stand_in("conan.tools.layout", basic_layout=lambda _: None)
    folder = os.path.join(source, ".packaging", "conan")
    sys.dont_write_bytecode = True
    spec = importlib.util.spec_from_file_location("recipe", os.path.join(folder, "conanfile.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    recipe = module.CowIndexConan()
    recipe.recipe_folder = folder

    recipe.set_version()
    assert recipe.version == version, f"the recipe says {recipe.version}, the project {version}"
    assert recipe.description == description, "the recipe describes the project otherwise"
    with tempfile.TemporaryDirectory() as work:
        recipe.export_sources_folder = recipe.source_folder = os.path.join(work, "sources")
        recipe.package_folder = os.path.join(work, "package")
        recipe.export_sources()
        recipe.package()
        packaged = files_below(os.path.join(work, "package", "include"))
        headers = files_below(os.path.join(source, "include"))
        assert headers and packaged == headers, f"packaged are {packaged}, there are {headers}"
        assert os.path.exists(os.path.join(work, "package", "licenses", "LICENSE"))
    recipe.validate()
    assert standards == [20], f"the recipe asks for C++ {standards}"
    recipe.cpp_info = Info()
    recipe.package_info()
    assert recipe.cpp_info.properties == {
        "cmake_file_name": "CowIndex",
        "cmake_target_name": "CowIndex::CowIndex",
        "pkg_config_name": "cowindex",
    }, recipe.cpp_info.properties
    print(f"the recipe packages {len(headers)} headers of version {version}")


if __name__ == "__main__":
    main(*sys.argv[1:])
