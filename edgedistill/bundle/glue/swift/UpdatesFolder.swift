import Foundation

/// The folder of an updater: which release is installed, and its files.
extension Updater {
    /// Which release is installed, as `state.json` says it.
    struct State: Codable {
        var number: Int?
        var archive: String?
        var previous: Int?
        var serial = 0
    }

    var state: State {
        guard let data = try? Data(contentsOf: file("state.json")) else { return State() }
        return (try? JSONDecoder().decode(State.self, from: data)) ?? State()
    }

    func write(_ state: State) throws {
        try writeThrough(JSONEncoder().encode(state), to: file(".state.json"))
        try move(file(".state.json"), to: file("state.json"))
    }

    /// The folder of a release; nil where it is not there.
    func place(_ number: Int) -> URL? {
        let place = file("release-\(number)")
        return size(place.appendingPathComponent("manifest.json")) > 0 ? place : nil
    }

    /// Removes older releases and downloads, and what an interruption left.
    func tidy(_ kept: [String]) {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? [] {
            let isOurs = name.hasPrefix("release-") || name.hasPrefix(".unpacked-")
            let isDownload = [".zip", ".part", ".zst", ".delta"].contains(where: name.hasSuffix)
            if isOurs || isDownload, !kept.contains(name) { remove(file(name)) }
        }
    }

    func file(_ name: String) -> URL { folder.appendingPathComponent(name) }

    /// Bytes of a file; 0 where it is not there.
    func size(_ file: URL) -> Int {
        (try? FileManager.default.attributesOfItem(atPath: file.path)[.size] as? Int) ?? 0
    }

    func has(_ file: URL, _ sha256: String) -> Bool {
        guard let data = try? Data(contentsOf: file, options: .mappedIfSafe) else { return false }
        return hexadecimalSHA256(data) == sha256
    }

    func remove(_ file: URL) { try? FileManager.default.removeItem(at: file) }

    /// Renames, which replaces a file at once.
    func move(_ file: URL, to place: URL) throws {
        guard rename(file.path, place.path) == 0 else { throw CocoaError(.fileWriteUnknown) }
    }
}
