import Foundation

/// A model that gives a text its label.
///
/// ```swift
/// let model = try await TextModel.load()
/// let prediction = try await model.predict("What is the weather?")
/// print(prediction.label.name, prediction.probability)
/// ```
///
/// Its methods run off the main thread. A cancelled task throws `CancellationError`.
public actor TextModel {
    /// The model under it, for tensors of your own.
    public nonisolated let model: Model
    /// Says which answers the teacher has to give instead.
    public nonisolated let router: Router
    private let reader: TextReader
    private let output: String

    private init(_ model: Model, _ router: Router, _ reader: TextReader, _ output: String) {
        (self.model, self.router, self.reader, self.output) = (model, router, reader, output)
    }

    /// Loads the model from a bundle. See ``Model/load(from:options:runtimes:)``.
    ///
    /// The labels of the bundle have to be those that this package was generated with.
    ///
    /// - Parameter tokenizers: Reads the tokenizer of the bundle.
    public static func load(
        from folder: URL = Generated.folder, options: LoadOptions = LoadOptions(),
        runtimes: [any Runtime.Type] = Generated.runtimes,
        tokenizers: TokenizerReader = { try readTokenizer($0, length: $1) }
    ) async throws -> TextModel {
        let bundle = try BundleFolder(folder, publicKey: options.publicKey)
        let facts = try Manifest.decode(ScoreFacts.self, from: bundle.manifestData)
        for artifact in bundle.manifest.artifacts { _ = try facts.output(artifact) }
        let model = try await Model.load(bundle, options: options, runtimes: runtimes)
        let reader = try TextReader(bundle, model.artifact, tokenizers)
        let router = try Router(bundle, artifact: model.artifact.name, features: Set(reader.features(of: []).keys))
        return TextModel(model, router, reader, try facts.output(model.artifact))
    }

    /// What runs.
    public nonisolated var info: ModelInfo { model.info }

    /// The probabilities of the labels of a text. A text that is longer than the model takes is cut.
    ///
    /// - Throws: `ModelError`, or `CancellationError` for a cancelled task: before the text is read, and before and
    ///   after the run.
    public func predict(_ text: String) async throws -> Prediction {
        try Task.checkCancellation()
        let outputs = try await model.run(try reader.tensors(of: text))
        let logits = outputs[output]?.doubles() ?? []
        guard logits.allSatisfy(\.isFinite) else {
            let text = "\(info.artifact) gave \(output) that are not finite; run selfTest() on this device"
            throw ModelError.runtimeFailed(text, cause: ModelError.input(text))
        }
        let features = reader.features(of: try reader.tokens(of: text))
        return Prediction(logits: logits, names: Generated.labels, features: features)
    }

    /// The numbers of the tokens of a text, as the model sees them.
    public func tokens(of text: String) throws -> [Int32] { try reader.tokens(of: text) }

    /// Runs on zeros, so that the first real call takes no longer than others.
    public func warmUp(times: Int = 3) async throws {
        try await model.warmUp(times: times)
    }

    /// Compares this device with the machine that exported the model: outputs, and the tokens of texts.
    public func selfTest() async throws -> TextSelfTest {
        var outputs = try await model.selfTest(decision: output)
        outputs.routesWrong = router.wrongRows
        return TextSelfTest(outputs: outputs, texts: try reader.others())
    }

    /// Frees the model's memory once no run needs it. A second call does nothing.
    public func close() async {
        await model.close()
    }
}

/// What the manifest says of a model that gives each label a score.
private struct ScoreFacts: Decodable {
    let labels: [String]
    let preprocessing: Processing

    struct Processing: Decodable {
        let outputs: [String: Output]
    }

    struct Output: Decodable {
        let postprocessing: String
        let temperature: Place?
    }

    struct Place: Decodable {
        let place: String

        enum CodingKeys: String, CodingKey { case place = "where" }
    }

    /// The name of the scores. Throws `ModelError.bundle` where the manifest asks for what this code does not do.
    func output(_ artifact: Manifest.Artifact) throws -> String {
        let inside = "inside the program"
        guard let (name, output) = preprocessing.outputs.first, preprocessing.outputs.count == 1,
            output.postprocessing == "softmax", output.temperature?.place ?? inside == inside
        else {
            throw ModelError.bundle(
                "manifest.json: found other outputs than scores with softmax: update the app's glue code")
        }
        let last = artifact.signature.outputs.first { $0.name == name }?.shape.last?.fixed
        guard last == labels.count, labels == Generated.labels else {
            throw ModelError.bundle(
                "the labels of manifest.json are not those of this package and of \(name): "
                    + "take the package of the bundle")
        }
        return name
    }
}
