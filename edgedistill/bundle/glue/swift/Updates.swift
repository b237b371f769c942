import Foundation

/// A release that this installation should have.
public struct Update: Sendable {
    public let number: Int
    /// Of its .zip.
    public let bytes: Int
    /// Whether it is older than what is installed, which was withdrawn.
    public let goesBack: Bool
    let release: UpdatesIndex.Release
    let serial: Int
}

/// Keeps the bundle in a folder up to date, from a repository that `edgedistill publish` wrote.
///
/// Nothing here runs by itself: the app calls `check` and `install` when it suits, for example in a background task
/// that waits for Wi-Fi. Every error is `ModelError.bundle`, and leaves the installed bundle as it was.
public actor Updater {
    /// Makes `new`, of `bytes` bytes, of `old` and `delta`, as `zstd -d --patch-from` does, by a library of zstd.
    public typealias Patcher = @Sendable (_ old: URL, _ delta: URL, _ new: URL, _ bytes: Int) async throws -> Void

    let folder: URL
    private let url: String
    private let installation: String
    private let appVersion: String
    private let publicKey: Data?
    private let patcher: Patcher?
    private let accept: @Sendable (URL) async throws -> Bool
    private var isBusy = false

    /// - Parameters:
    ///   - folder: Belongs to the updater: it holds `state.json`, a folder for each release, and downloads. Exclude it
    ///     from backups.
    ///   - url: Of the repository.
    ///   - installation: A random text that stays the same; it decides when a staged release comes here.
    ///   - appVersion: Version of the app, such as 3.2.
    ///   - publicKey: 32 bytes of an Ed25519 key; with it the index has to be signed.
    ///   - patcher: Makes a release of the one before; the last .zip is kept for it. Without it, and where it throws,
    ///     the whole .zip is downloaded.
    ///   - accept: Asked whether the bundle in a folder is good before it is swapped in, for example by its self-test.
    ///     By default every file is compared with its hash.
    public init(
        folder: URL, url: URL, installation: String, appVersion: String = "0", publicKey: Data? = nil,
        patcher: Patcher? = nil, accept: @escaping @Sendable (URL) async throws -> Bool = Updater.hasItsHashes
    ) {
        self.folder = folder
        self.url = String(url.absoluteString.reversed().drop { $0 == "/" }.reversed())
        self.installation = installation
        self.appVersion = appVersion
        self.publicKey = publicKey
        self.patcher = patcher
        self.accept = accept
    }

    /// The folder of the installed bundle; nil before the first one, when the app takes the one that it ships.
    public var current: URL? { state.number.flatMap(place) }

    /// The release that this installation should have; nil where it has it. Changes nothing.
    ///
    /// - Throws: `ModelError.bundle` where the index can't be had, is not signed by the key, or is older than one that
    ///   was seen.
    public func check() async throws -> Update? {
        let (index, state) = (try await index(), state)
        guard index.serial >= state.serial else {
            throw ModelError.bundle(
                "found an index with the serial \(index.serial), expected \(state.serial) or more: the server has an "
                    + "old copy; try again later")
        }
        let fitting = index.releases.filter { $0.fits(installation, appVersion) }
        guard let wanted = fitting.max(by: { $0.number < $1.number }) else { return nil }
        if let installed = state.number, place(installed) != nil {
            // A release that is no longer in the index counts as withdrawn.
            let withdrawn = index.releases.first { $0.number == installed }?.withdrawn ?? true
            if wanted.number == installed || (wanted.number < installed && !withdrawn) { return nil }
        }
        return Update(
            number: wanted.number, bytes: wanted.archive.bytes, goesBack: wanted.number < state.number ?? 0,
            release: wanted, serial: index.serial)
    }

    /// Downloads a release, proves it, and swaps it in.
    ///
    /// A download that was interrupted goes on where it ended. Until the last step the bundle before counts, and it
    /// stays on the disk as the last good one.
    ///
    /// - Parameter progress: Called with the bytes that are there, and those of all.
    /// - Returns: The folder of the installed bundle.
    /// - Throws: `ModelError.bundle` where the download, a hash or `accept` failed: call again, later. Or
    ///   `CancellationError` for a cancelled task.
    @discardableResult
    public func install(
        _ update: Update, progress: @escaping @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }
    ) async throws -> URL {
        guard !isBusy else { throw ModelError.bundle("an update is being installed already; wait for its end") }
        isBusy = true
        defer { isBusy = false }
        let new = folder.appendingPathComponent("release-\(update.number)")
        let unpacked = folder.appendingPathComponent(".unpacked-\(update.number)")
        defer { remove(unpacked) }
        do {
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            let archive = file("\(update.release.archive.sha256).zip")
            if try await !fromDelta(update.release, archive, progress) {
                try await download(update.release.archive, to: archive, progress)
            }
            remove(unpacked)
            try StoredZip(Data(contentsOf: archive, options: .mappedIfSafe)).unpack(into: unpacked)
            guard try await accept(unpacked) else {
                throw ModelError.bundle("release \(update.number) failed its test on this device; the old one stays")
            }
            let before = state.number
            if before != update.number || place(update.number) == nil {
                remove(new)
                try move(unpacked, to: new)
            }
            // This is the swap: before it the old bundle counts, behind it the new one.
            let kept = patcher == nil ? nil : archive.lastPathComponent
            try write(State(number: update.number, archive: kept, previous: before, serial: update.serial))
            tidy([update.number, before].compactMap { $0 }.map { "release-\($0)" } + [kept].compactMap { $0 })
        } catch let error as CocoaError {
            throw ModelError.bundle(
                "release \(update.number) can't be written (\(error.localizedDescription)); make room, and call "
                    + "install again")
        }
        return new
    }

    /// Whether each file of the bundle in `folder` has its hash. Throws `ModelError.bundle` where one has another.
    @Sendable public static func hasItsHashes(_ folder: URL) async throws -> Bool {
        let bundle = try BundleFolder(folder)
        for (path, sha256) in bundle.manifest.files { _ = try bundle.data(path, sha256: sha256) }
        return true
    }

    private func index() async throws -> UpdatesIndex {
        let data = try await read("index.json")
        if let publicKey {
            let signature = try await read("index.sig")
            try UpdatesIndex.check(data, signature: signature, publicKey, name: "\(url)/index.sig")
        }
        return try UpdatesIndex.read(data, name: "\(url)/index.json")
    }

    /// The bytes of a small file of the repository.
    private func read(_ name: String) async throws -> Data {
        let most = 4 << 20
        let data = Box(Data())
        do {
            try await UpdatesDownload.run(address(name), begin: { _ in }) {
                data.value += $0
                return data.value.count <= most
            }
        } catch let error where !(error is CancellationError) {
            throw ModelError.bundle("\(url)/\(name) can't be read (\(error.localizedDescription)); try again later")
        }
        guard data.value.count <= most else {
            throw ModelError.bundle("\(url)/\(name) has more than \(most) bytes; try again later")
        }
        return data.value
    }

    private func address(_ name: String) throws -> URL {
        guard let address = URL(string: "\(url)/\(name)") else { throw URLError(.badURL) }
        return address
    }

    /// Makes the .zip of a release of the installed one; false where that can't be done.
    private func fromDelta(
        _ release: UpdatesIndex.Release, _ archive: URL, _ progress: @escaping @Sendable (Int, Int) -> Void
    ) async throws -> Bool {
        guard let patcher, let name = state.archive, size(file(name)) > 0, size(archive) == 0,
            let delta = release.deltas.first(where: { "\($0.base).zip" == name })
        else { return false }
        let packed = file("\(delta.remote.sha256).zst")
        let made = file("\(release.archive.sha256).delta")
        defer { [packed, made].forEach(remove) }
        try await download(delta.remote, to: packed, progress)
        // Where this fails, the installed .zip was damaged: the whole new one does not need it.
        guard (try? await patcher(file(name), packed, made, release.archive.bytes)) != nil,
            has(made, release.archive.sha256)
        else { return false }
        try move(made, to: archive)
        return true
    }

    /// Downloads a file of the repository, from where an earlier download of it ended.
    private func download(
        _ remote: UpdatesIndex.File, to target: URL, _ progress: @escaping @Sendable (Int, Int) -> Void
    ) async throws {
        if has(target, remote.sha256) { return }
        let (partial, name) = (file("\(remote.sha256).part"), "\(url)/\(remote.file)")
        if size(partial) > remote.bytes { remove(partial) }
        if size(partial) == 0 { try Data().write(to: partial) }
        let start = size(partial)
        do {
            if start < remote.bytes {
                let output = try FileHandle(forWritingTo: partial)
                defer { try? output.close() }
                let done = Box(start)
                try await UpdatesDownload.run(address(remote.file), start: start) { goesOn in
                    if !goesOn { done.value = 0 }
                    try output.truncate(atOffset: UInt64(done.value))
                } take: { data in
                    try output.write(contentsOf: data)
                    done.value += data.count
                    progress(min(done.value, remote.bytes), remote.bytes)
                    return done.value <= remote.bytes
                }
            }
        } catch let error where !(error is CancellationError) {
            throw ModelError.bundle(
                "\(name) can't be read (\(error.localizedDescription)); call install again to go on")
        }
        guard size(partial) >= remote.bytes else {
            throw ModelError.bundle(
                "\(name) ended after \(size(partial)) of \(remote.bytes) bytes; call install again to go on")
        }
        guard has(partial, remote.sha256) else {
            remove(partial)
            throw ModelError.bundle(
                "\(name) was changed or damaged, expected the file with the SHA-256 \(remote.sha256.prefix(12)); "
                    + "try again later")
        }
        try move(partial, to: target)
    }
}

/// A value that callbacks change, one after the other.
private final class Box<Value>: @unchecked Sendable {
    var value: Value

    init(_ value: Value) { self.value = value }
}
