// swift-tools-version:6.0
import PackageDescription

// The bundle, and the name of its package: put those of yours here, and the name into BundlePackage.swift. The project
// and the app know only SampleModel.
let bundle = "../../../runs/quickstart/bundles/ios"
let name = "QuickstartModel"

let package = Package(
    name: "SampleModel",
    platforms: [.iOS(.v17), .macOS(.v14)],
    products: [.library(name: "SampleModel", targets: ["SampleModel"])],
    dependencies: [.package(name: name, path: bundle)],
    targets: [.target(name: "SampleModel", dependencies: [.product(name: name, package: name)])]
)
