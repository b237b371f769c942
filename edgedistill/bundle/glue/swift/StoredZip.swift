import Foundation

/// Reads a .zip whose files are stored as they are, as edgedistill writes it: nothing has to be inflated.
struct StoredZip {
    /// A file of the archive, and where its bytes are.
    struct File {
        let path: String
        let range: Range<Int>
    }

    private static let (end, central, local) = (0x0605_4b50, 0x0201_4b50, 0x0403_4b50)
    private let data: Data
    /// All files, after each was looked at.
    private(set) var files: [File] = []

    /// Looks at all entries of the archive.
    ///
    /// Compressed files, links, paths that leave the folder, and entries that share bytes, by which a small archive
    /// fills a disk, are refused.
    ///
    /// - Throws: `ModelError.bundle`.
    init(_ data: Data) throws {
        self.data = data
        let end = try findEnd()
        let (size, offset) = (try long(end + 12), try long(end + 16))
        guard offset + size <= end else { throw Self.damaged }
        var (place, total) = (offset, 0)
        var paths: Set<String> = []
        while place < offset + size {
            guard try long(place) == Self.central else { throw Self.damaged }
            let name = try short(place + 28)
            let next = try place + 46 + name + short(place + 30) + short(place + 32)
            guard next <= offset + size else { throw Self.damaged }
            let path = String(decoding: data[place + 46..<place + 46 + name], as: UTF8.self)
            if path.utf8.last != UInt8(ascii: "/") {
                try check(path, at: place)
                guard paths.insert(path).inserted else {
                    throw ModelError.bundle("the downloaded bundle has \(path) twice; do not use it")
                }
                let range = try range(of: place, limit: offset)
                files.append(File(path: path, range: range))
                total += range.count
            }
            place = next
        }
        guard total <= offset else {
            throw ModelError.bundle("the downloaded bundle would fill the disk; do not use it")
        }
    }

    /// Writes all files into `folder`.
    func unpack(into folder: URL) throws {
        for file in files {
            var target = folder
            file.path.utf8.split(separator: UInt8(ascii: "/")).forEach { target.appendPathComponent(String($0)!) }
            try FileManager.default.createDirectory(
                at: target.deletingLastPathComponent(), withIntermediateDirectories: true)
            try writeThrough(data[file.range], to: target)
        }
    }

    private static var damaged: ModelError {
        .bundle("the downloaded bundle can't be unpacked (it is damaged, or no .zip of less than 4 GiB); do not use it")
    }

    private func short(_ place: Int) throws -> Int {
        guard place >= 0, place + 2 <= data.count else { throw Self.damaged }
        return Int(data[place]) | Int(data[place + 1]) << 8
    }

    private func long(_ place: Int) throws -> Int {
        try short(place) | short(place + 2) << 16
    }

    private func findEnd() throws -> Int {
        var place = data.count - 22
        while place >= max(0, data.count - 22 - 0xffff) {
            if try long(place) == Self.end, try place + 22 + short(place + 20) == data.count { return place }
            place -= 1
        }
        throw Self.damaged
    }

    private func check(_ path: String, at place: Int) throws {
        // By bytes: as characters, a slash with an accent behind it is no slash.
        let bytes = path.utf8
        let parts = bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).map { Array($0) }
        let leads = parts.contains { [Array("".utf8), Array(".".utf8), Array("..".utf8)].contains($0) }
        guard !leads, !bytes.contains(where: { [UInt8(ascii: "\\"), UInt8(ascii: ":"), 0].contains($0) }) else {
            throw ModelError.bundle("the path '\(path)' is not allowed in a bundle; do not use it")
        }
        // The upper half has the mode of a file on a Unix system: of unknown kind, a plain file, or a folder.
        guard [0, 8, 4].contains(try long(place + 38) >> 28) else {
            throw ModelError.bundle(
                "\(path) is a link or no plain file, which a bundle must not have; do not use it")
        }
        let encrypted = try short(place + 8) & 1 == 1
        guard try short(place + 10) == 0, !encrypted, try long(place + 20) == long(place + 24) else {
            throw ModelError.bundle(
                "\(path) is compressed, expected a stored file: publish the .zip of edgedistill bundle")
        }
    }

    private func range(of place: Int, limit: Int) throws -> Range<Int> {
        let header = try long(place + 42)
        guard try long(header) == Self.local else { throw Self.damaged }
        let start = try header + 30 + short(header + 26) + short(header + 28)
        let end = try start + long(place + 24)
        guard end <= limit else { throw Self.damaged }
        return start..<end
    }
}

/// Writes `data` to `file`, down to the disk: a swap must not reach it before the files.
func writeThrough(_ data: Data, to file: URL) throws {
    try data.write(to: file)
    let handle = try FileHandle(forWritingTo: file)
    try handle.synchronize()
    try handle.close()
}
