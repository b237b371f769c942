import Foundation

/// A model that gives a text its embedding.
///
/// ```swift
/// let model = try await EmbeddingModel.load()
/// let (one, other) = (try await model.embed("What is the weather?"), try await model.embed("Will it rain?"))
/// print(try one.similarity(other))
/// ```
///
/// Its methods run off the main thread. A cancelled task throws `CancellationError`.
public actor EmbeddingModel {
    /// The model under it, for tensors of your own.
    public nonisolated let model: Model
    private let reader: TextReader
    private let output: String

    private init(_ model: Model, _ reader: TextReader, _ output: String) {
        (self.model, self.reader, self.output) = (model, reader, output)
    }

    /// Loads the model from a bundle. See ``Model/load(from:options:runtimes:)``.
    ///
    /// - Parameter tokenizers: Reads the tokenizer of the bundle.
    public static func load(
        from folder: URL = Generated.folder, options: LoadOptions = LoadOptions(),
        runtimes: [any Runtime.Type] = Generated.runtimes,
        tokenizers: TokenizerReader = { try readTokenizer($0, length: $1) }
    ) async throws -> EmbeddingModel {
        let bundle = try BundleFolder(folder, publicKey: options.publicKey)
        let facts = try Manifest.decode(EmbeddingFacts.self, from: bundle.manifestData)
        guard let (name, output) = facts.preprocessing.outputs.first, facts.preprocessing.outputs.count == 1,
            output.similarity == "cosine"
        else {
            throw ModelError.bundle(
                "manifest.json: found other outputs than an embedding with cosines: update the app's glue code")
        }
        let model = try await Model.load(bundle, options: options, runtimes: runtimes)
        return EmbeddingModel(model, try TextReader(bundle, model.artifact, tokenizers), name)
    }

    /// What runs.
    public nonisolated var info: ModelInfo { model.info }

    /// The embedding of a text. A text that is longer than the model takes is cut.
    ///
    /// - Throws: `ModelError`, or `CancellationError` for a cancelled task: before the text is read, and before and
    ///   after the run.
    public func embed(_ text: String) async throws -> Embedding {
        try Task.checkCancellation()
        let outputs = try await model.run(try reader.tensors(of: text))
        return Embedding(values: outputs[output]?.doubles().map(Float.init) ?? [])
    }

    /// The numbers of the tokens of a text, as the model sees them.
    public func tokens(of text: String) throws -> [Int32] { try reader.tokens(of: text) }

    /// Runs on zeros, so that the first real call takes no longer than others.
    public func warmUp(times: Int = 3) async throws {
        try await model.warmUp(times: times)
    }

    /// Compares this device with the machine that exported the model: outputs, and the tokens of texts.
    public func selfTest() async throws -> TextSelfTest {
        TextSelfTest(outputs: try await model.selfTest(), texts: try reader.others())
    }

    /// Frees the model's memory once no run needs it. A second call does nothing.
    public func close() async {
        await model.close()
    }
}

/// What the manifest says of embeddings only.
private struct EmbeddingFacts: Decodable {
    let preprocessing: Processing

    struct Processing: Decodable {
        let outputs: [String: Output]
    }

    struct Output: Decodable {
        let similarity: String
    }
}
