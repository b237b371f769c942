// The command line of the tests. Prints what it found as JSON; test_glue_text_swift.py judges.
import Foundation

@main
enum Checks {
    static func main() async {
        let arguments = CommandLine.arguments
        let folder = URL(fileURLWithPath: arguments[2])
        var found: [String: any Sendable]
        do {
            switch arguments[1] {
            case "tokens": found = try tokens(folder)
            case "labels": found = try await labels(folder) { try readTokenizer($0, length: $1) }
            case "cut":
                let more = Int(arguments[3])!
                found = try await labels(folder) { _, length in Zeros(count: length + more) }
            case "embeddings": found = try await embeddings(folder)
            default: fatalError(arguments[1])
            }
        } catch {
            found = ["error": described(error)]
        }
        let data = try! JSONSerialization.data(withJSONObject: found)
        print(String(decoding: data, as: UTF8.self))
    }

    struct Zeros: TextTokenizer {
        let count: Int

        func tokens(of text: String) -> [Int32] { [Int32](repeating: 0, count: count) }
    }

    struct Golden: Decodable {
        let text: String
        let tokens: [Int32]
    }

    /// The texts of golden.json that have other tokens.
    static func tokens(_ folder: URL) throws -> [String: any Sendable] {
        let file = try Data(contentsOf: folder.appendingPathComponent("tokenizer.json"))
        let tokenizer = try readTokenizer(file, length: 24)
        let data = try Data(contentsOf: folder.appendingPathComponent("golden.json"))
        let golden = try JSONDecoder().decode([Golden].self, from: data)
        let wrong = try golden.filter { try tokenizer.tokens(of: $0.text) != $0.tokens }
        return ["texts": golden.count, "wrong": wrong.map(\.text)]
    }

    static func texts(_ folder: URL) throws -> [String] {
        try JSONDecoder().decode([String].self, from: Data(contentsOf: folder.appendingPathComponent("texts.json")))
    }

    static func labels(_ folder: URL, _ tokenizers: TokenizerReader) async throws -> [String: any Sendable] {
        let model = try await TextModel.load(from: folder, tokenizers: tokenizers)
        try await model.warmUp(times: 1)
        var (labels, probabilities) = ([String](), [[Double]]())
        for text in try texts(folder) {
            let prediction = try await model.predict(text)
            labels.append(prediction.label.name)
            probabilities.append(prediction.probabilities)
        }
        let test = try await model.selfTest()
        let errors = await misuse { _ = try await model.predict("apple") } close: { await model.close() }
        return [
            "labels": labels, "probabilities": probabilities, "ok": test.ok, "describe": test.describe(),
            "changed": test.outputs.decisionsChanged ?? -1, "errors": errors,
        ]
    }

    static func embeddings(_ folder: URL) async throws -> [String: any Sendable] {
        let model = try await EmbeddingModel.load(from: folder)
        var embeddings: [Embedding] = []
        for text in try texts(folder) { embeddings.append(try await model.embed(text)) }
        let first = embeddings[0]
        let zeros = Embedding(values: [Float](repeating: 0, count: first.values.count))
        let test = try await model.selfTest()
        var errors = await misuse { _ = try await model.embed("apple") } close: { await model.close() }
        do { _ = try first.similarity(Embedding(values: [1, 2])) } catch { errors["sizes"] = described(error) }
        return [
            "embeddings": embeddings.map { $0.values.map(Double.init) },
            "similarities": try embeddings.map { try first.similarity($0) }, "zero": try first.similarity(zeros),
            "ok": test.ok, "describe": test.describe(), "errors": errors,
        ]
    }

    static func misuse(_ call: @escaping @Sendable () async throws -> Void, close: () async -> Void) async -> [String:
        String]
    {
        func caught(_ call: () async throws -> Void) async -> String {
            do { try await call() } catch { return described(error) }
            return "none"
        }
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            try await call()
        }
        let cancelled = await caught { try await task.value }
        await close()
        return ["cancelled": cancelled, "closed": await caught(call)]
    }

    static func described(_ error: any Error) -> String {
        guard let error = error as? ModelError else { return "\(type(of: error))" }
        return "\(Mirror(reflecting: error).children.first!.label!): \(error.message)"
    }
}
