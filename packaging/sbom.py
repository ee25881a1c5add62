#!/usr/bin/env python3
"""The parts of the binary as a CycloneDX 1.5 document, from Cargo.lock: what is linked for one target, no tool of the build or the tests.

  packaging/sbom.py TARGET >disk-guard.cdx.json

Nothing in it depends on when or where it is made: SOURCE_DATE_EPOCH gives the time.
"""
import datetime, json, os, pathlib, subprocess, sys, tomllib, uuid

target = sys.argv[1]
source = pathlib.Path(__file__).resolve().parent.parent
command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", target]
metadata = json.loads(subprocess.run(command, cwd=source, check=True, stdout=subprocess.PIPE).stdout)
packages = {package["id"]: package for package in metadata["packages"]}
nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
lock = tomllib.loads((source / "Cargo.lock").read_text())
checksums = {(part["name"], part["version"]): part.get("checksum") for part in lock["package"]}


def is_macro(package):
    return any("proc-macro" in built["kind"] for built in package["targets"])


def linked(identity):
    """What a part is linked with: normal dependencies, and no procedural macros, which end with the compiler."""
    for dependency in nodes[identity]["deps"]:
        is_normal = any(kind["kind"] is None for kind in dependency["dep_kinds"])
        if is_normal and not is_macro(packages[dependency["pkg"]]):
            yield dependency["pkg"]


def reference(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, kind):
    described = {
        "type": kind,
        "bom-ref": reference(package),
        "name": package["name"],
        "version": package["version"],
        "purl": reference(package),
    }
    if package["license"]:
        # Some manifests still separate alternatives in the old way.
        described["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        described["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return described


root = metadata["resolve"]["root"]
seen, todo = {root}, [root]
while todo:
    for part in linked(todo.pop()):
        if part not in seen:
            seen.add(part)
            todo.append(part)
parts = sorted((packages[part] for part in seen if part != root), key=lambda part: (part["name"], part["version"]))
own = packages[root]
epoch = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
document = {
    "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
    "bomFormat": "CycloneDX",
    "specVersion": "1.5",
    "version": 1,
    "metadata": {
        "timestamp": datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "component": component(own, "application"),
        "properties": [{"name": "cargo:target", "value": target}],
    },
    "components": [component(part, "library") for part in parts],
    "dependencies": [
        {"ref": reference(packages[part]), "dependsOn": sorted({reference(packages[other]) for other in linked(part)})}
        for part in sorted(seen, key=lambda part: reference(packages[part]))
    ],
}
name = json.dumps(document, sort_keys=True)
document["serialNumber"] = f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, name)}"
json.dump(document, sys.stdout, indent=1)
print()
