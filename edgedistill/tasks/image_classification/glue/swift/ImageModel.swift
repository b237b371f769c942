import Foundation

/// A model that says what a picture shows.
///
/// ```swift
/// let model = try await ImageModel.load()
/// let prediction = try await model.predict(Frame(pixelBuffer, orientation: .right))
/// print(prediction.label.name, prediction.probability)
/// ```
///
/// Its methods run off the main thread. A cancelled task throws `CancellationError`.
public actor ImageModel {
    /// The model under it, for tensors of your own.
    public nonisolated let model: Model
    /// How a frame becomes the model's input.
    public nonisolated let preprocessing: Preprocessing
    /// Says which answers the teacher has to give instead.
    public nonisolated let router: Router
    private let facts: ImageFacts
    private let input: String
    private let output: String

    private init(
        _ model: Model, _ facts: ImageFacts, _ router: Router,
        _ parts: (input: String, output: String, preprocessing: Preprocessing)
    ) {
        self.model = model
        self.facts = facts
        self.router = router
        (input, output, preprocessing) = parts
    }

    /// Loads the model from a bundle. See ``Model/load(from:options:runtimes:)``.
    ///
    /// The labels of the bundle have to be those that this package was generated with.
    public static func load(
        from folder: URL = Generated.folder, options: LoadOptions = LoadOptions(),
        runtimes: [any Runtime.Type] = Generated.runtimes
    ) async throws -> ImageModel {
        let bundle = try BundleFolder(folder, publicKey: options.publicKey)
        let facts = try Manifest.decode(ImageFacts.self, from: bundle.manifestData)
        for artifact in bundle.manifest.artifacts {
            _ = try facts.checked(artifact)
        }
        guard facts.labels == Generated.labels else {
            throw ModelError.bundle(
                "the labels of manifest.json are not those of this package: take the package of the bundle")
        }
        let model = try await Model.load(bundle, options: options, runtimes: runtimes)
        let router = try Router(bundle, artifact: model.artifact.name, features: imageFeatureNames)
        return ImageModel(model, facts, router, try facts.checked(model.artifact))
    }

    /// What runs.
    public nonisolated var info: ModelInfo { model.info }

    /// Says what a frame shows.
    ///
    /// - Throws: `ModelError`, or `CancellationError` for a cancelled task: before the frame is prepared, while it is,
    ///   and before and after the run.
    public func predict(_ frame: Frame) async throws -> Prediction {
        try Task.checkCancellation()
        guard let spec = model.artifact.signature.inputs.first(where: { $0.name == input }) else {
            throw ModelError.bundle("\(info.artifact) has no input \(input), which manifest.json prepares")
        }
        let pixels = try preprocessing.pixels(of: frame)
        let outputs = try await model.run([input: preprocessing.tensor(of: pixels, for: spec)])
        let logits = outputs[output]?.doubles() ?? []
        guard logits.allSatisfy(\.isFinite) else {
            let text = "\(info.artifact) gave \(output) that are not finite; run selfTest() on this device"
            throw ModelError.runtimeFailed(text, cause: ModelError.input(text))
        }
        return Prediction(logits: logits, names: facts.labels, features: imageFeatures(of: pixels))
    }

    /// Runs on zeros, so that the first real call takes no longer than others.
    public func warmUp(times: Int = 3) async throws {
        try await model.warmUp(times: times)
    }

    /// Compares this device with the machine that exported the model: outputs, and how frames are prepared.
    public func selfTest() async throws -> SelfTest {
        var result = try await model.selfTest(decision: output)
        result.routesWrong = router.wrongRows
        for (index, golden) in (facts.goldenFrames ?? []).enumerated() {
            let expected = try bytes(golden.expected)
            let found = try preprocessing.pixels(of: golden.frame(bytes(golden.file)))
            guard found.count == expected.count else {
                throw ModelError.bundle("\(golden.expected): found \(expected.count) bytes, expected \(found.count)")
            }
            let largest = zip(found, expected).map { abs(Int($0) - Int($1)) }.max() ?? 0
            result.frames.append(SelfTest.FrameDifference(index: index, largestDifference: largest))
        }
        return result
    }

    /// Frees the model's memory once no run needs it. A second call does nothing.
    public func close() async {
        await model.close()
    }

    private func bytes(_ path: String) throws -> [UInt8] {
        guard let sha256 = model.bundle.manifest.files[path] else {
            throw ModelError.bundle("found no SHA-256 of \(path) in manifest.json; get the bundle again")
        }
        return [UInt8](try model.bundle.data(path, sha256: sha256))
    }
}
