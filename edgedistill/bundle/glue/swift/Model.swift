import Foundation

/// What runs: the artifact, its runtime with its version, and what computes it.
public struct ModelInfo: Sendable {
    public let artifact: String
    public let runtime: String
    /// The runtime's version; nil where it does not tell.
    public let version: String?
    /// Such as a processor; "unknown: " and the reason where the runtime does not tell.
    public let delegate: String
}

/// A loaded model.
///
/// Its methods run on the actor, off the main thread. A cancelled task throws `CancellationError` before or after a
/// run, never in the middle of one.
public actor Model {
    public nonisolated let bundle: BundleFolder
    public nonisolated let artifact: Manifest.Artifact
    public nonisolated let info: ModelInfo
    private var runtime: (any Runtime)?

    private init(_ bundle: BundleFolder, _ artifact: Manifest.Artifact, _ info: ModelInfo, _ runtime: any Runtime) {
        self.bundle = bundle
        self.artifact = artifact
        self.info = info
        self.runtime = runtime
    }

    /// Loads a model from a bundle.
    ///
    /// Checks the manifest, the SHA-256 of the artifact's files, and versions.
    ///
    /// - Parameters:
    ///   - folder: The folder that `manifest.json` is in. Generated code knows the one that this package ships.
    ///   - options: Which artifact, what is to compute it, and whether the bundle has to be signed.
    ///   - runtimes: Those that may be used. Generated code knows all of this package.
    /// - Throws: `ModelError`.
    public static func load(
        from folder: URL = Generated.folder, options: LoadOptions = LoadOptions(),
        runtimes: [any Runtime.Type] = Generated.runtimes
    ) async throws -> Model {
        try await load(BundleFolder(folder, publicKey: options.publicKey), options: options, runtimes: runtimes)
    }

    /// The same for a bundle that is open already.
    public static func load(
        _ bundle: BundleFolder, options: LoadOptions = LoadOptions(), runtimes: [any Runtime.Type] = Generated.runtimes
    ) async throws -> Model {
        let artifact = try choose(bundle.manifest, options.artifact, runtimes)
        let file = try bundle.checked(artifact.name)
        guard let type = runtimes.first(where: { $0.format == artifact.format }) else {
            throw ModelError.runtimeMissing("this package has no runtime for \(artifact.format)")
        }
        try Task.checkCancellation()
        do {
            let runtime = try await type.open(file, artifact, options)
            let info = ModelInfo(
                artifact: artifact.name, runtime: type.name, version: type.version, delegate: runtime.delegate)
            return Model(bundle, artifact, info, runtime)
        } catch {
            throw wrapped(error, "\(type.name) can't load \(artifact.name)")
        }
    }

    /// Runs the model once.
    ///
    /// - Parameter inputs: A tensor for each input, of the type and shape in the manifest.
    /// - Returns: A tensor for each output, by name.
    /// - Throws: `ModelError`, or `CancellationError` for a cancelled task.
    public func run(_ inputs: [String: Tensor]) async throws -> [String: Tensor] {
        guard let runtime else {
            throw ModelError.closed("\(info.artifact) was closed; load it again")
        }
        let specs = artifact.signature.inputs
        guard Set(inputs.keys) == Set(specs.map(\.name)) else {
            let found = inputs.isEmpty ? "none" : inputs.keys.sorted().joined(separator: ", ")
            throw ModelError.input("found the inputs \(found), expected \(specs.map(\.name).joined(separator: ", "))")
        }
        for spec in specs {
            guard let tensor = inputs[spec.name], spec.matches(tensor) else {
                let found = inputs[spec.name].map { "\($0.dtype.rawValue)\($0.shape)" } ?? "none"
                throw ModelError.input("found \(found) for the input \(spec.name), expected \(spec)")
            }
        }
        try Task.checkCancellation()
        let outputs: [String: Tensor]
        do {
            outputs = try await runtime.run(inputs)
        } catch {
            throw Self.wrapped(error, "\(info.runtime) can't run \(info.artifact)")
        }
        try Task.checkCancellation()
        for spec in artifact.signature.outputs {
            guard let tensor = outputs[spec.name], spec.matches(tensor) else {
                let found = outputs[spec.name].map { "\($0.dtype.rawValue)\($0.shape)" } ?? "none"
                let text =
                    "\(info.runtime) gave \(found) for the output \(spec.name) of \(info.artifact), expected \(spec)"
                throw ModelError.runtimeFailed(text, cause: ModelError.bundle(text))
            }
        }
        return outputs
    }

    /// Runs on zeros, so that the first real call takes no longer than others.
    public func warmUp(times: Int = 3) async throws {
        var zeros: [String: Tensor] = [:]
        for spec in artifact.signature.inputs {
            zeros[spec.name] = try Tensor.zeros(spec.dtype, spec.shape.map { $0.fixed ?? 1 })
        }
        for _ in 0..<times {
            _ = try await run(zeros)
        }
    }

    /// Runs the golden inputs of the bundle here, and compares with what the artifact gave where it was exported.
    ///
    /// - Parameter decision: An output whose largest value decides; the result counts samples with another decision.
    public func selfTest(decision: String? = nil) async throws -> SelfTest {
        guard let files = artifact.golden.outputs else {
            throw ModelError.bundle(
                "the bundle has no golden outputs of \(info.artifact): nothing executed it where it was exported")
        }
        let inputs = try artifact.golden.inputs.mapValues(bundle.array)
        let expected = try files.mapValues(bundle.array)
        var comparison = Comparison(tolerance: artifact.golden.tolerance, decision: decision)
        for sample in 0..<artifact.golden.count {
            var one: [String: Tensor] = [:]
            for spec in artifact.signature.inputs {
                guard let tensor = try inputs[spec.name]?.part(sample) else {
                    throw ModelError.bundle("the bundle has no golden values of the input \(spec.name); get it again")
                }
                // A sample has no dimension of the batch, which is 1.
                one[spec.name] =
                    tensor.shape.count < spec.shape.count ? try tensor.reshaped([1] + tensor.shape) : tensor
            }
            let outputs = try await run(one)
            for (name, values) in expected {
                guard let found = outputs[name] else { continue }
                try comparison.add(sample, name, found: found.doubles(), expected: values.part(sample).doubles())
            }
        }
        return SelfTest(info: info, outputs: comparison.outputs, decisionsChanged: comparison.decisionsChanged)
    }

    /// Frees the runtime's memory once no run needs it. A second call does nothing.
    public func close() {
        runtime = nil
    }

    private static func choose(
        _ manifest: Manifest, _ name: String?, _ runtimes: [any Runtime.Type]
    ) throws -> Manifest.Artifact {
        let names = manifest.artifacts.map(\.name)
        var refused: [String] = []
        for candidate in name.map({ [$0] }) ?? manifest.ship.order {
            guard let artifact = manifest.artifacts.first(where: { $0.name == candidate }) else {
                throw ModelError.bundle(
                    "found no artifact \(candidate), expected one of \(names.joined(separator: ", "))")
            }
            guard let reason = artifact.whyNot(runtimes) else { return artifact }
            refused.append("\(candidate): \(reason)")
        }
        throw ModelError.runtimeMissing(
            "no artifact of the bundle can run here. "
                + (refused.isEmpty ? "The bundle ships none" : refused.joined(separator: "; ")))
    }

    private static func wrapped(_ error: any Error, _ what: String) -> any Error {
        if error is CancellationError || error is ModelError { return error }
        return ModelError.runtimeFailed("\(what): \(error)", cause: error)
    }
}
