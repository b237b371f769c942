// What the template Generated.swift becomes, for the bundle that the tests make; folder and runtimes are the tests'
// own.
import Foundation

/// Facts of the model quickstart. Written by edgedistill; do not edit.
public enum Generated {
    public static let name = "quickstart"
    public static let labels = ["cat", "dog", "a 3rd one"]

    public static var folder: URL { URL(fileURLWithPath: FileManager.default.currentDirectoryPath) }

    public static var runtimes: [any Runtime.Type] { [MeanRuntime.self] }
}

extension Label {
    public static let cat = Label(index: 0, name: "cat")
    public static let dog = Label(index: 1, name: "dog")
}
