#!/usr/bin/env python3
"""Draws which room of src/ includes which, and compares the picture with the one in docs/ARCHITECTURE.md.

usage: rooms.py SOURCE_DIRECTORY [--print]

A public header belongs to the room that its first line names. Fails, too, if a public header includes one that is not
public, if rooms lean on each other in a circle, if a test does not stand in the room of what it is about, and if a file of
src/ has more than 450 lines.
"""

import pathlib
import re
import sys

BEGIN = "<!-- rooms: "
END = "<!-- end of rooms -->"
NOT_ROOMS = {"library", "pch"}
MOST_LINES = 450


def includes_of(path):
    return re.findall(r'^#include "([^"]+)"', path.read_text(), re.M)


class House:
    def __init__(self, root):
        self.root = root
        self.troubles = []
        self.rooms = sorted(path.name for path in (root / "src").iterdir() if path.is_dir() and path.name not in NOT_ROOMS)
        self.public = {path.name: self.room_of_public(path) for path in sorted((root / "include/eplb").glob("*.hpp"))}
        self.arrows = {room: set() for room in self.rooms}
        for room in self.rooms:
            for path in sorted((root / "src" / room).glob("*.[ch]pp")):
                self.add(room, path)
        for path in sorted((root / "include/eplb").glob("*.hpp")):
            self.add(self.public[path.name], path)
            self.troubles += [f"{path.relative_to(root)} is public, and includes {name}, which is not"
                              for name in includes_of(path) if not name.startswith("eplb/")]
        self.check_tests()
        self.check_sizes()

    def check_sizes(self):
        for path in sorted((self.root / "src").glob("**/*.[ch]pp")):
            lines = path.read_text().count("\n")
            if lines > MOST_LINES:
                self.troubles.append(f"{path.relative_to(self.root)} has {lines} lines: more than one thing, which is to be cut")

    def room_of_public(self, path):
        first = path.read_text().split("\n", 1)[0]
        match = re.fullmatch(r"// (\w+): .+\.", first)
        if match and match[1] in self.rooms:
            return match[1]
        self.troubles.append(f"the first line of {path.relative_to(self.root)} is not '// ROOM: what it is about.'")
        return "base"

    def add(self, room, path):
        for name in includes_of(path):
            folder, _, file = name.rpartition("/")
            other = self.public.get(file) if folder == "eplb" else folder
            if other not in self.arrows:
                self.troubles.append(f"{path.relative_to(self.root)} includes {name}, which is in no room")
            elif other != room:
                self.arrows[room].add(other)

    def check_tests(self):
        sources = {path.stem: room for room in self.rooms for path in (self.root / "src" / room).glob("*.[ch]pp")}
        sources.update((name.removesuffix(".hpp"), room) for name, room in self.public.items() if name.removesuffix(".hpp") not in sources)
        for path in sorted((self.root / "tests/unit").glob("**/*_test.cpp")):
            room = sources.get(path.stem.removesuffix("_test"), path.parent.name)
            if path.parent.name != room or room not in self.arrows:
                self.troubles.append(f"{path.relative_to(self.root)} is about something in the room {room}, and not there")

    def height(self, room, above=()):
        if room in above:
            raise ValueError(" -> ".join([*above[above.index(room):], room]))
        return 1 + max((self.height(other, (*above, room)) for other in self.arrows[room]), default=0)

    def picture(self):
        heights = {room: self.height(room) for room in self.rooms}
        highest_first = sorted(self.rooms, key=lambda room: (-heights[room], room))
        width = max(map(len, self.rooms))
        return [" ".join([room.ljust(width), *(other for other in highest_first if other in self.arrows[room])]).rstrip()
                for room in highest_first]


def main():
    root = pathlib.Path(sys.argv[1])
    house = House(root)
    try:
        picture = house.picture()
    except ValueError as circle:
        print(f"rooms lean on each other: {circle}")
        return 1
    if "--print" in sys.argv:
        print("\n".join(picture))
        return 0
    text = (root / "docs/ARCHITECTURE.md").read_text()
    told = text[text.index(BEGIN):text.index(END)].split("```")[1].strip("\n").split("\n")
    for line in sorted(set(picture) - set(told)):
        house.troubles.append(f"the code says, and docs/ARCHITECTURE.md does not: {line}")
    for line in sorted(set(told) - set(picture)):
        house.troubles.append(f"docs/ARCHITECTURE.md says, and the code does not: {line}")
    if not house.troubles and told != picture:
        house.troubles.append("docs/ARCHITECTURE.md has the rooms in another order than: " + ", ".join(line.split()[0] for line in picture))
    print("\n".join(house.troubles) or f"{len(picture)} rooms, as drawn")
    return 1 if house.troubles else 0


if __name__ == "__main__":
    sys.exit(main())
