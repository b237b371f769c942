import Foundation

/// What executes artifacts of one format.
///
/// A type that conforms is an actor, or makes sure in another way that calls from several tasks do not meet.
public protocol Runtime: Sendable {
    /// The format of artifacts that it runs, as the manifest calls it.
    static var format: String { get }
    /// Its name, also the one in `minimum_runtime` of the manifest.
    static var name: String { get }
    /// Its version; nil where the runtime does not tell.
    static var version: String? { get }

    /// Opens an artifact whose files were checked before.
    static func open(_ file: URL, _ artifact: Manifest.Artifact, _ options: LoadOptions) async throws -> Self

    /// What computes the model, such as a processor; "unknown: " and the reason where the runtime does not tell.
    nonisolated var delegate: String { get }

    /// Runs once. The inputs were compared with the signature before.
    func run(_ inputs: [String: Tensor]) async throws -> [String: Tensor]
}

/// The runtimes of this package; the file of each adds a list, which is empty where the system does not have it.
public enum Runtimes {}

/// How to load a model.
public struct LoadOptions: Sendable {
    /// Name of the artifact; nil for the first of the manifest's `ship.order` that can run here.
    public var artifact: String?
    /// What is to compute it, by the runtime's name for it; nil leaves the choice to the runtime.
    public var delegate: String?
    /// 32 bytes of an Ed25519 key; with it the bundle has to be signed.
    public var publicKey: Data?

    public init(artifact: String? = nil, delegate: String? = nil, publicKey: Data? = nil) {
        self.artifact = artifact
        self.delegate = delegate
        self.publicKey = publicKey
    }
}

extension Manifest.Artifact {
    /// Why `runtimes` can't run this artifact here; nil where one can.
    func whyNot(_ runtimes: [any Runtime.Type], system: (name: String, version: String)? = .current) -> String? {
        guard let runtime = runtimes.first(where: { $0.format == format }) else {
            return "this package has no runtime for \(format)"
        }
        if let needed = minimumRuntime[runtime.name], let found = runtime.version, isOlder(found, than: needed) {
            return "found \(runtime.name) \(found), expected \(needed) or later; update it"
        }
        if let system, let needed = minimumOS?[system.name], isOlder(system.version, than: needed) {
            return "found \(system.name) \(system.version), expected \(needed) or later; update the system"
        }
        return nil
    }
}

extension Optional where Wrapped == (name: String, version: String) {
    /// The operating system as the manifest names it; nil where the manifest does not know it.
    static var current: Self {
        let version = ProcessInfo.processInfo.operatingSystemVersion
        let text = "\(version.majorVersion).\(version.minorVersion).\(version.patchVersion)"
        #if os(iOS)
        return ("ios", text)
        #elseif os(macOS)
        return ("macos", text)
        #else
        return nil
        #endif
    }
}

/// Whether version `found` is older than `needed`: by numbers, so that 1.10 is newer than 1.9, and without suffixes.
func isOlder(_ found: String, than needed: String) -> Bool {
    func numbers(_ version: String) -> [Int] {
        version.split(separator: ".").map { Int($0.prefix { $0.isNumber }) ?? 0 }
    }
    let (found, needed) = (numbers(found), numbers(needed))
    for index in 0..<max(found.count, needed.count) {
        let left = index < found.count ? found[index] : 0
        let right = index < needed.count ? needed[index] : 0
        if left != right { return left < right }
    }
    return false
}
